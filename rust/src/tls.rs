//! TLS to a provider without a socket: ciphertext in, plaintext out, and the reverse.
//!
//! Why here: the event loop's own TLS (OpenSSL behind two memory BIOs, driven from Python) made a forwarded request cost
//! 2.4 times what nginx pays. rustls does no IO of its own, so that one call per network chunk is enough. Its *unbuffered*
//! interface is used: records are decrypted where they arrived, and a sealed request is written straight into its place.
//!
//! What is fixed: TLS 1.2 and 1.3, the `ring` provider (it needs a C compiler and nothing else), SNI, ALPN `http/1.1`,
//! certificates and host names always verified, no early data (a replayed request is a request paid twice), sessions
//! resumed between all sessions of one [`Config`]. rustls refuses handshake messages above 64 KiB; [`HELD_MAX_BYTES`]
//! bounds what a peer may make us keep beyond that.
//!
//! The core reads no clock and draws no randomness, with one exception: rustls itself asks the system for the time
//! (validity of certificates) and for randomness (keys). Neither takes part in a decision of the engine.
//!
//! Cost: an idle session holds no buffers, only rustls' own state; an incomplete record is kept until the rest arrives.

use crate::error::TableError;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{CertificateError, ClientConfig, Error, HandshakeKind, InvalidMessage, ProtocolVersion, RootCertStore};
use std::fmt;
use std::sync::Arc;

/// The most a peer may have unprocessed in a session. One record is 16 KiB and a handshake message 64 KiB at most; the rest
/// is room for a message that comes in many small records.
const HELD_MAX_BYTES: usize = 256 * 1024;

/// A receive buffer up to this size is kept for the next record, so that a short answer costs no allocation; a larger one is
/// given back, so that thousands of idle connections stay small.
const KEPT_BYTES: usize = 2 * 1024;

/// The most plaintext in one record (RFC 8446 5.1).
const RECORD_BYTES: usize = 16 * 1024;

/// The most that a record adds: TLS 1.2 with AES-GCM has 5 bytes of header, 8 of nonce, 16 of tag; TLS 1.3 less.
const RECORD_OVERHEAD_BYTES: usize = 29;

/// What a [`Config`] is made of. Not `Debug`: it holds a private key.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Certificates of further authorities, PEM (`ca_file`).
    pub roots: Option<&'a [u8]>,
    /// Trust the system's authorities; where it has none, Mozilla's list as compiled in.
    pub use_system_roots: bool,
    /// Our own certificate and its chain, PEM (`client_cert`).
    pub client_cert: Option<&'a [u8]>,
    /// The private key to it, PEM: PKCS#8, PKCS#1 or SEC1.
    pub client_key: Option<&'a [u8]>,
}

/// Whom we trust and who we are. Shared by sessions: those to the same name resume each other.
#[derive(Clone, Debug)]
pub struct Config(Arc<ClientConfig>);

impl Config {
    /// Check and prepare. Reads the system's certificates from disk if it is to trust them, so build it once.
    ///
    /// # Errors
    /// A [`TableError`] on `ca_file`, `client_cert` or `client_key`; it never repeats what a key file holds.
    pub fn new(options: Options<'_>) -> Result<Self, TableError> {
        let roots = trusted(options.roots, options.use_system_roots)?;
        // Named, not taken from the process: another crate could install a different default.
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TableError::new("tls", error.to_string()))?
            .with_root_certificates(roots);
        let mut config = match (options.client_cert, options.client_key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates(cert, "client_cert")?, private_key(key)?)
                .map_err(|error| TableError::new("client_cert", format!("does not fit its key: {error}")))?,
            (Some(_), None) => return Err(TableError::new("client_key", "missing beside client_cert")),
            (None, Some(_)) => return Err(TableError::new("client_cert", "missing beside client_key")),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_early_data = false;
        Ok(Self(Arc::new(config)))
    }
}

fn trusted(extra: Option<&[u8]>, system: bool) -> Result<RootCertStore, TableError> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = extra {
        for der in certificates(pem, "ca_file")? {
            roots.add(der).map_err(|error| TableError::new("ca_file", format!("unusable certificate: {error}")))?;
        }
    }
    if system {
        // System stores hold odd certificates; the ones that do not parse are left out, as every other client does.
        let found = rustls_native_certs::load_native_certs();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    if roots.is_empty() {
        return Err(TableError::new("ca_file", "no authority is trusted: give a file or use the system's"));
    }
    Ok(roots)
}

fn certificates(pem: &[u8], path: &str) -> Result<Vec<CertificateDer<'static>>, TableError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TableError::new(path, "broken PEM: expected -----BEGIN CERTIFICATE----- blocks"))?;
    if found.is_empty() {
        return Err(TableError::new(path, "holds no certificate: expected -----BEGIN CERTIFICATE----- blocks"));
    }
    Ok(found)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TableError> {
    // The parser's own error quotes the file, which is a secret.
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| TableError::new("client_key", "not an unencrypted PEM private key (PKCS#8, PKCS#1 or SEC1)"))
}

/// Why a session cannot go on. It is over; what [`Session::outgoing`] still holds tells the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// One connection to one server, as the client.
pub struct Session {
    conn: UnbufferedClientConnection,
    /// For error texts only.
    server_name: String,
    /// Ciphertext that is not a whole record, or handshake messages that are not whole. rustls keeps offsets into it.
    incoming: Vec<u8>,
    /// Ciphertext that the peer must get before anything else: handshake, key update, alert.
    outgoing: Vec<u8>,
    peer_closed: bool,
    closed: bool,
    attention: bool,
    failure: Option<TlsError>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (&self.failure, self.is_handshaking(), self.closed) {
            (Some(_), _, _) => "failed",
            (_, true, _) => "handshaking",
            (_, _, true) => "closed",
            _ => "open",
        };
        write!(f, "<TlsSession {:?} {state}>", self.server_name)
    }
}

impl Session {
    /// A session whose first flight waits in [`Session::outgoing`].
    ///
    /// # Errors
    /// `server_name` is neither a DNS name nor an IP address.
    pub fn new(config: &Config, server_name: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsError(format!("{server_name:?} is neither a DNS name nor an IP address")))?;
        let conn = UnbufferedClientConnection::new(config.0.clone(), name)
            .map_err(|error| TlsError(format!("TLS with {server_name}: {error}")))?;
        let mut session = Self {
            conn,
            server_name: server_name.to_owned(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            peer_closed: false,
            closed: false,
            attention: true,
            failure: None,
        };
        session.advance(&mut Vec::new());
        session.failure.clone().map_or(Ok(session), Err)
    }

    /// Take bytes from the network and append what they say to `plain`.
    ///
    /// # Errors
    /// The session is over. Plaintext that came whole before the fault is delivered first: the call that has some succeeds,
    /// and the next one (with no bytes, if none come) gives the error.
    pub fn receive(&mut self, data: &[u8], plain: &mut Vec<u8>) -> Result<(), TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.peer_closed {
            return Ok(()); // RFC 8446 6.1: what follows close_notify is ignored
        }
        let was_handshaking = self.is_handshaking();
        self.incoming.extend_from_slice(data);
        self.advance(plain);
        if self.incoming.len() > HELD_MAX_BYTES {
            self.fail(format!(
                "TLS with {}: the peer's handshake is larger than {HELD_MAX_BYTES} bytes",
                self.server_name
            ));
        }
        self.attention |= was_handshaking || self.peer_closed || self.failure.is_some() || !self.outgoing.is_empty();
        match &self.failure {
            Some(failure) if plain.is_empty() => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    /// Encrypt `data`, behind the bytes that are pending. No bytes give what is pending.
    ///
    /// # Errors
    /// The session is not open: still handshaking, closed by us, failed, or its keys are spent (TLS 1.2 after 2^24 records).
    pub fn send(&mut self, data: &[u8]) -> Result<Vec<u8>, TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.closed {
            return Err(TlsError(format!("TLS with {}: closed by us", self.server_name)));
        }
        let mut room = data.len() + (data.len() / RECORD_BYTES + 1) * RECORD_OVERHEAD_BYTES;
        loop {
            match self.conn.process_tls_records(&mut self.incoming).state {
                Ok(ConnectionState::WriteTraffic(mut open)) => {
                    let start = self.outgoing.len();
                    self.outgoing.resize(start + room, 0);
                    let sealed = open.encrypt(data, &mut self.outgoing[start..]);
                    self.outgoing.truncate(start + *sealed.as_ref().unwrap_or(&0));
                    match sealed {
                        Ok(_) => return Ok(std::mem::take(&mut self.outgoing)),
                        // A key update goes before the data: it is encoded in the next round.
                        Err(EncryptError::InsufficientSize(short)) => room = short.required_size,
                        Err(EncryptError::EncryptExhausted) => break,
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(&mut data, &mut self.outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return Err(TlsError(format!("TLS with {}: the handshake is not over", self.server_name))),
            }
        }
        Err(self.fail(format!("TLS with {}: keys are spent", self.server_name)))
    }

    /// Take the bytes that the peer must get now: handshake, key update, alert. Ends [`Session::needs_attention`].
    pub fn outgoing(&mut self) -> Vec<u8> {
        self.attention = self.is_handshaking() && self.failure.is_none();
        std::mem::take(&mut self.outgoing)
    }

    /// End our side: what is pending and, if the handshake is over, a `close_notify`. Empty the second time.
    pub fn close(&mut self) -> Vec<u8> {
        if !std::mem::replace(&mut self.closed, true) && self.failure.is_none() {
            if let Ok(ConnectionState::WriteTraffic(mut open)) = self.conn.process_tls_records(&mut self.incoming).state
            {
                // Without room it stays queued behind what is queued already, and is taken from there.
                let _ = open.queue_close_notify(&mut []);
            }
            self.collect_queued(0);
        }
        self.outgoing()
    }

    /// Whom we want to talk to.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The handshake is not over.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// The peer said `close_notify`: all that it sent has arrived. The connection's end without it is a truncation.
    #[must_use]
    pub fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Something other than plaintext happened since [`Session::outgoing`] was called; always while handshaking.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.attention
    }

    /// The handshake took up an earlier session and skipped the certificates.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// `TLSv1.3`, `TLSv1.2`, or empty while it is not agreed on.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match self.conn.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        }
    }

    /// Process what is whole in `incoming`.
    fn advance(&mut self, plain: &mut Vec<u8>) {
        let mut used = 0;
        let fault = loop {
            let UnbufferedStatus { discard, state, .. } = self.conn.process_tls_records(&mut self.incoming[used..]);
            used += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        used += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(&mut data, &mut self.outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(_) => break None, // waiting: for the peer, or for us to write
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = fault {
            self.collect_queued(used);
            self.fail(explain(&self.server_name, &error));
        }
        self.incoming.drain(..used);
        if self.incoming.is_empty() && self.incoming.capacity() > KEPT_BYTES {
            self.incoming = Vec::new();
        }
    }

    /// Take what rustls has ready for the peer, without processing anything more: after a fault it must not be made to go on.
    fn collect_queued(&mut self, used: usize) {
        while self.conn.wants_write() {
            match self.conn.process_tls_records(&mut self.incoming[used..]).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(&mut data, &mut self.outgoing),
                _ => break,
            }
        }
    }

    fn fail(&mut self, text: String) -> TlsError {
        self.attention = true;
        self.failure.get_or_insert(TlsError(text)).clone()
    }
}

fn append<T>(data: &mut EncodeTlsData<'_, T>, out: &mut Vec<u8>) {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(short)) = data.encode(&mut []) {
        out.resize(start + short.required_size, 0);
        let written = data.encode(&mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }
}

fn explain(server_name: &str, error: &Error) -> String {
    let hint = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => " (a private authority is named by ca_file)",
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            " (the peer does not speak TLS on this port)"
        }
        _ => "",
    };
    format!("TLS with {server_name}: {error}{hint}")
}

#[cfg(test)]
mod tests;
