"""TCP, Unix sockets, TLS and the handshake. Python 3.10."""
