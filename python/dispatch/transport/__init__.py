"""The only client sockets: connections to providers, plain and TLS."""
