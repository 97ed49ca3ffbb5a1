from typing import final

__all__ = ["TlsConfig", "TlsError", "TlsSession", "__version__"]

__version__: str

# --- TLS to providers (rust/src/tls.rs); used through dispatch.transport.tls ---

class TlsError(ConnectionError):
    """A TLS session that cannot be, or cannot go on. The text names the server and the reason, never a secret."""

@final
class TlsConfig:
    """Whom we trust and who we are. Immutable; sessions of one config to the same name resume each other.

    TLS 1.2 and 1.3, ALPN `http/1.1`, no early data; certificates and names are always verified.
    Building one reads the system's certificates from disk (some milliseconds): build one per set of settings.
    """

    def __new__(cls, roots: bytes | None, use_system_roots: bool, client_cert_pem: bytes | None, client_key_pem: bytes | None) -> TlsConfig:
        """Check and prepare.

        Args:
            roots: PEM certificates of further authorities (`ca_file`).
            use_system_roots: trust the system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured); Mozilla's list where it is empty.
            client_cert_pem: our certificate and its chain, for servers that ask for one.
            client_key_pem: its unencrypted private key.

        Raises:
            ConfigError: at `ca_file`, `client_cert` or `client_key`.
        """

@final
class TlsSession:
    """The client's side of one TLS connection, without a socket. For one thread at a time."""

    def __new__(cls, config: TlsConfig, server_name: str) -> TlsSession:
        """Begin; the first flight waits in `outgoing()`.

        Args:
            config: whom to trust.
            server_name: DNS name (sent as SNI) or IP address that the certificate must be for.

        Raises:
            TlsError: `server_name` is neither.
        """
    def receive(self, data: bytes) -> bytes:
        """Take bytes from the network; return the plaintext in them, `b""` if there is none yet.

        Raises:
            TlsError: the session is over. `outgoing()` then has the alert for the peer. Plaintext before the fault is never lost:
                the call that has some returns it, and the next one raises.
        """
    def send(self, data: bytes) -> bytes:
        """Encrypt; what is pending comes first, so that `outgoing()` need not be called before.

        Raises:
            TlsError: handshaking, closed by us, failed, or the keys are spent.
        """
    def outgoing(self) -> bytes:
        """Take the bytes that the peer must get now: handshake, key update, alert. Resets `needs_attention`."""
    def close(self) -> bytes:
        """End our side: pending bytes and a close_notify; `b""` the second time. `receive()` still works."""
    @property
    def server_name(self) -> str:
        """Whom we want to talk to."""
    @property
    def needs_attention(self) -> bool:
        """Something other than plaintext happened since `outgoing()` was called; always while handshaking."""
    @property
    def is_handshaking(self) -> bool:
        """The peer is not verified yet; nothing can be sent."""
    @property
    def peer_closed(self) -> bool:
        """The peer sent close_notify: everything has arrived. A connection that ends without it was cut."""
    @property
    def is_resumed(self) -> bool:
        """The handshake took up an earlier session."""
    @property
    def version(self) -> str:
        """`TLSv1.3`, `TLSv1.2`, or empty while not agreed on."""
