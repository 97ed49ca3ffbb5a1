//! Sessions against rustls' own server, in memory.

use super::{Config, HELD_MAX_BYTES, Options, Session};
use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion, version};
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

const NAME: &str = "provider.test";

/// A server's configuration for `version`, and the PEM that trusts it.
fn server_config(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let chain: Vec<CertificateDer<'static>> = vec![cert.der().clone()];
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(config), cert.pem())
}

fn trusting(pem: &str) -> Config {
    Config::new(Options { roots: Some(pem.as_bytes()), ..Options::default() }).unwrap()
}

struct Pair {
    client: Session,
    server: ServerConnection,
}

impl Pair {
    fn new(config: &Config, server: &Arc<ServerConfig>) -> Self {
        let client = Session::new(config, NAME).unwrap();
        Self { client, server: ServerConnection::new(server.clone()).unwrap() }
    }

    fn established(version: &'static SupportedProtocolVersion) -> Self {
        let (server, pem) = server_config(version);
        let mut pair = Self::new(&trusting(&pem), &server);
        pair.handshake();
        pair
    }

    fn give_server(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.server.read_tls(&mut bytes).unwrap();
            self.server.process_new_packets().unwrap();
        }
    }

    fn take_from_server(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn handshake(&mut self) {
        while self.client.is_handshaking() || self.server.is_handshaking() {
            let out = self.client.outgoing();
            self.give_server(&out);
            let back = self.take_from_server();
            assert_eq!(receive(&mut self.client, &back), b"");
        }
        let out = self.client.outgoing();
        self.give_server(&out);
    }
}

fn receive(session: &mut Session, data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    session.receive(data, &mut plain).unwrap();
    plain
}

/// Say something to the server, which says it back.
fn echo(pair: &mut Pair, said: &[u8]) -> Vec<u8> {
    let sealed = pair.client.send(said).unwrap();
    let mut heard = Vec::new();
    let mut rest = sealed.as_slice();
    while !rest.is_empty() {
        pair.server.read_tls(&mut rest).unwrap();
        let ready = pair.server.process_new_packets().unwrap().plaintext_bytes_to_read();
        let start = heard.len();
        heard.resize(start + ready, 0);
        pair.server.reader().read_exact(&mut heard[start..]).unwrap();
    }
    let mut plain = Vec::new();
    for piece in heard.chunks(32 * 1024) {
        pair.server.writer().write_all(piece).unwrap();
        let back = pair.take_from_server();
        plain.extend(receive(&mut pair.client, &back));
    }
    plain
}

#[test]
fn both_versions_carry_small_and_large_payloads_and_agree_on_http1() {
    for (version, name) in [(&version::TLS12, "TLSv1.2"), (&version::TLS13, "TLSv1.3")] {
        let mut pair = Pair::established(version);
        assert_eq!(pair.client.version(), name);
        assert_eq!(pair.server.alpn_protocol(), Some(&b"http/1.1"[..]));
        for size in [1, 700, 16 * 1024, 16 * 1024 + 1, 2 << 20] {
            let said: Vec<u8> = (0..size).map(|i: u32| i.to_le_bytes()[0]).collect();
            assert_eq!(echo(&mut pair, &said), said);
        }
        assert!(!pair.client.needs_attention());
    }
}

#[test]
fn what_stood_before_a_fault_is_delivered_and_the_next_call_tells() {
    let mut pair = Pair::established(&version::TLS13);
    pair.server.writer().write_all(b"whole").unwrap();
    let mut bytes = pair.take_from_server();
    bytes.extend([23, 3, 3, 0, 32]);
    bytes.extend([0; 32]);
    assert_eq!(receive(&mut pair.client, &bytes), b"whole");
    assert!(pair.client.needs_attention());
    assert!(!pair.client.outgoing().is_empty(), "an alert tells the peer");
    let error = pair.client.receive(b"", &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("decrypt"), "{error}");
    assert!(pair.client.send(b"more").is_err());
}

#[test]
fn close_notify_is_told_from_an_end_without_it() {
    for version in [&version::TLS12, &version::TLS13] {
        let mut pair = Pair::established(version);
        assert!(!pair.client.is_peer_closed());
        pair.server.writer().write_all(b"last").unwrap();
        pair.server.send_close_notify();
        let mut bytes = pair.take_from_server();
        bytes.extend(b"what follows is ignored");
        assert_eq!(receive(&mut pair.client, &bytes), b"last");
        assert!(pair.client.is_peer_closed());
        assert_eq!(receive(&mut pair.client, b"noise"), b"");
        let bye = pair.client.close();
        assert!(!bye.is_empty());
        let state = {
            pair.server.read_tls(&mut bye.as_slice()).unwrap();
            pair.server.process_new_packets().unwrap()
        };
        assert!(state.peer_has_closed());
        assert_eq!(pair.client.close(), b"");
        assert!(pair.client.send(b"x").is_err());
    }
}

#[test]
fn a_requested_key_update_is_answered_before_the_next_data() {
    let mut pair = Pair::established(&version::TLS13);
    for round in 0..3_u8 {
        pair.server.refresh_traffic_keys().unwrap();
        let bytes = pair.take_from_server();
        assert_eq!(receive(&mut pair.client, &bytes), b"");
        let said = vec![round; 20_000];
        assert_eq!(echo(&mut pair, &said), said);
    }
}

#[test]
fn the_second_session_resumes_the_first() {
    for version in [&version::TLS12, &version::TLS13] {
        let (server, pem) = server_config(version);
        let config = trusting(&pem);
        for is_resumed in [false, true] {
            let mut pair = Pair::new(&config, &server);
            pair.handshake();
            assert_eq!(echo(&mut pair, b"hello"), b"hello"); // tickets of TLS 1.3 come after the handshake
            assert_eq!(pair.client.is_resumed(), is_resumed);
        }
    }
}

#[test]
fn nothing_is_sent_before_the_handshake_is_over() {
    let (_, pem) = server_config(&version::TLS13);
    let mut session = Session::new(&trusting(&pem), NAME).unwrap();
    assert!(session.send(b"secret").unwrap_err().to_string().contains("handshake is not over"));
    let hello = session.outgoing();
    assert_eq!(hello[0], 22, "a handshake record");
    assert!(session.needs_attention(), "as long as the handshake lasts");
    assert_eq!(session.close(), b"");
}

#[test]
fn an_endless_handshake_is_refused() {
    let (_, pem) = server_config(&version::TLS13);
    let mut session = Session::new(&trusting(&pem), NAME).unwrap();
    // ServerHello of 60 KiB, one byte a record: under rustls' limit for a message, over ours for what is held.
    let mut bytes = vec![22, 3, 3, 0, 4, 2, 0, 0xf0, 0];
    for _ in 0..HELD_MAX_BYTES / 6 {
        bytes.extend([22, 3, 3, 0, 1, 0]);
    }
    assert!(session.receive(&bytes, &mut Vec::new()).is_err());
}

#[test]
fn bad_settings_name_the_key_and_never_its_content() {
    let (_, pem) = server_config(&version::TLS13);
    let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\nsecret!\n";
    let cases: [(Options<'_>, &str); 6] = [
        (Options::default(), "ca_file"),
        (Options { roots: Some(b"nothing here"), ..Options::default() }, "ca_file"),
        (
            Options { roots: Some(pem.as_bytes()), client_cert: Some(pem.as_bytes()), ..Options::default() },
            "client_key",
        ),
        (
            Options { roots: Some(pem.as_bytes()), client_key: Some(key.as_bytes()), ..Options::default() },
            "client_cert",
        ),
        (
            Options {
                roots: Some(pem.as_bytes()),
                client_cert: Some(pem.as_bytes()),
                client_key: Some(key.as_bytes()),
                ..Options::default()
            },
            "client_key",
        ),
        (Options { roots: Some(b"-----BEGIN CERTIFICATE-----\n####\n"), ..Options::default() }, "ca_file"),
    ];
    for (options, path) in cases {
        let error = Config::new(options).unwrap_err();
        assert_eq!(error.path, path);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(Session::new(&trusting(&pem), "not a name").is_err());
}

/// A server's side of a whole conversation cannot be replayed (keys differ), so the cuts are made live.
fn shared_server() -> &'static (Arc<ServerConfig>, Config) {
    static SERVER: OnceLock<(Arc<ServerConfig>, Config)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (server, pem) = server_config(&version::TLS13);
        (server, trusting(&pem))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn where_the_network_cuts_does_not_matter(sizes in prop::collection::vec(1_usize..400, 1..40), body in prop::collection::vec(any::<u8>(), 1..5000)) {
        let (server, config) = shared_server();
        let mut pair = Pair::new(config, server);
        let mut cuts = sizes.iter().copied().cycle();
        let mut plain = Vec::new();
        let mut is_said = false;
        loop {
            let out = pair.client.outgoing();
            pair.give_server(&out);
            if !is_said && !pair.server.is_handshaking() {
                pair.server.writer().write_all(&body).unwrap();
                is_said = true;
            }
            let back = pair.take_from_server();
            if back.is_empty() {
                break;
            }
            let mut rest = back.as_slice();
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                plain.extend(receive(&mut pair.client, head));
                rest = tail;
            }
        }
        prop_assert_eq!(plain, body);
    }

    #[test]
    fn garbage_never_panics(noise in prop::collection::vec(any::<u8>(), 1..600), is_record in any::<bool>(), is_open in any::<bool>()) {
        let (server, config) = shared_server();
        let mut pair = Pair::new(config, server);
        if is_open {
            pair.handshake();
        }
        let mut bytes = noise;
        if is_record && bytes.len() > 5 {
            let length = u16::try_from(bytes.len() - 5).unwrap().to_be_bytes();
            let kind = 20 + bytes[0] % 4;
            bytes[..5].copy_from_slice(&[kind, 3, 3, length[0], length[1]]);
        }
        let mut plain = Vec::new();
        let first = pair.client.receive(&bytes, &mut plain).is_err();
        prop_assert!(plain.is_empty());
        prop_assert_eq!(pair.client.receive(&bytes, &mut plain).is_err() || !first, true);
        let _ = pair.client.close();
    }
}
