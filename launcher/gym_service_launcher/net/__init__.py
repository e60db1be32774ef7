"""TCP, Unix sockets, TLS, tokens and the handshake. Python 3.10 and up."""
