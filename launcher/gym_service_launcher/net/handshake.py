"""Mutual authentication of the two ends of a socket by a shared token. Sans-I/O, except for ``perform``.

Knows the bytes and their order. Never knows addresses, nor what follows the handshake. Python 3.10 and up.

Both sides send a hello at once: a magic (8 bytes) and a nonce (32). Upon the server's hello the client sends its proof
(32); if that is right, the server sends its own. A proof is the HMAC-SHA256, under the token, of the sender's role and
of both nonces. A recorded proof is useless, because the nonces differ; a reflected one is of the wrong role. So each
side reads 72 bytes and no more before it allocates or parses anything, and ends the handshake at the first wrong byte
of the magic.

The client authenticates first, so the server's proof also says that the client is accepted. Instead of its proof the
server can send, in as many bytes, that it is not: signed, if the server is at its client limit; unsigned, to a client
that has not authenticated yet, if too many connect at the same time. The client may retry after either.

On a Unix socket the kernel identifies both sides. There the same bytes are sent under a key that is no secret: they say
that both sides are gym-service of one version, and that the server accepts the client.
"""

import hmac
import secrets
import socket
import time
from typing import Literal

from gym_service_launcher.errors import AuthError
from gym_service_launcher.net import sigpipe
from gym_service_launcher.net.tokens import Token
from gym_service_launcher.standalone import fd_passing, interrupts

Role = Literal["client", "server"]

# The last digit is the version of the handshake. Each role has its own magic, so that a client that is connected to
# itself, as can happen with TCP on loopback, notices it at once.
MAGIC: dict[Role, bytes] = {"client": b"gymsvcC1", "server": b"gymsvcS1"}
NONCE_BYTES = 32
PROOF_BYTES = 32
HELLO_BYTES = len(MAGIC["client"]) + NONCE_BYTES
WHOLE_BYTES = HELLO_BYTES + PROOF_BYTES
# Seconds for the whole handshake, including TLS: some round trips, with reserve for a busy machine.
LIMIT_S = 5.0
# Sent instead of the server's proof to a connection that is rejected because there are too many.
SERVER_BUSY = b"gymsvcS1 too many at once".ljust(PROOF_BYTES)
# What the server signs instead of its magic when it is at its client limit. A magic is never this long.
FULL = b"gymsvcS1 has no room"
# The key of Unix sockets only.
UNIX_PEER_KEY = Token(b"the kernel says who is who", "none is needed on a Unix socket")


class HandshakeTimeout(AuthError):
    """The other side did not finish in time: it is not gym-service, or a machine is busy."""


class ServerFullError(Exception):
    """The server accepts no client now, but may do so later. The text says why."""


class Handshake:
    """One side. Send ``hello``. Give ``receive`` what arrives, at most ``missing_bytes``, and send what it returns.

    A server sets ``has_room`` to False, before its proof is sent, to tell a client with the right token to retry.
    """

    def __init__(self, role: Role, token: Token) -> None:
        self.has_room = True
        self._role: Role = role
        self._other: Role = "server" if role == "client" else "client"
        self._token = token
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._received = b""

    @property
    def hello(self) -> bytes:
        return MAGIC[self._role] + self._nonce

    @property
    def missing_bytes(self) -> int:
        """How many bytes to read before the next step of this side; 0 once both sides have authenticated."""
        have = len(self._received)
        return (HELLO_BYTES if have < HELLO_BYTES else WHOLE_BYTES) - have

    def receive(self, data: bytes) -> bytes:
        """Take bytes that arrived, b"" for the end of the stream, and return the bytes to send now.

        Raises:
            AuthError: the other side is not gym-service, has another token, or disconnected.
            ServerFullError: the server tells the client to retry.
        """
        assert len(data) <= self.missing_bytes, "the bytes after the handshake belong to the protocol"
        if not data:
            raise self.disconnected()
        self._received += data
        self._check_magic()
        if len(self._received) == HELLO_BYTES:
            return self._proof(self._role) if self._role == "client" else b""
        if len(self._received) == WHOLE_BYTES:
            self._check_proof()
            return self._proof("server", full=not self.has_room) if self._role == "server" else b""
        return b""

    def disconnected(self) -> AuthError:
        """The error for a stream that ended or was reset before the handshake was done."""
        if len(self._received) < HELLO_BYTES:
            return AuthError(f"the {self._other} disconnected before it identified itself")
        return AuthError(f"the {self._other} disconnected during authentication: most likely it has another token")

    def _check_magic(self) -> None:
        magic = MAGIC[self._other]
        begun = self._received[: len(magic)]
        if not magic.startswith(begun):
            raise AuthError(
                f"the other side is not a {self._other} of this version of gym-service: its first bytes are {begun!r}"
            )

    def _check_proof(self) -> None:
        proof = self._received[HELLO_BYTES:]
        if hmac.compare_digest(proof, self._proof(self._other)):
            return
        if self._role == "client" and proof == SERVER_BUSY:
            raise ServerFullError("too many clients are connecting at the same time")
        if self._role == "client" and hmac.compare_digest(proof, self._proof("server", full=True)):
            raise ServerFullError("it is at its client limit")
        raise AuthError(f"the {self._other} has another token")

    def _proof(self, role: Role, *, full: bool = False) -> bytes:
        theirs = self._received[HELLO_BYTES - NONCE_BYTES : HELLO_BYTES]
        nonces = self._nonce + theirs if self._role == "client" else theirs + self._nonce
        return self._token.sign((FULL if full else MAGIC[role]) + nonces)


def perform(sock: socket.socket, handshake: Handshake, limit_s: float = LIMIT_S) -> None:
    """Carry out one side of the handshake over a connected socket. Blocks for at most ``limit_s`` seconds.

    Raises:
        AuthError: it failed. The socket cannot be used any more.
        HandshakeTimeout: it took too long. The socket cannot be used any more.
        ServerFullError: the server tells the client to retry, with a new connection.
    """
    deadline = time.monotonic() + limit_s
    answer = handshake.hello
    try:
        while True:
            sock.settimeout(max(deadline - time.monotonic(), 1e-6))
            _send(sock, answer)
            if not handshake.missing_bytes:
                break
            answer = handshake.receive(sock.recv(handshake.missing_bytes))
    except TimeoutError as error:
        interrupts.raise_if_from_handler(error)
        raise HandshakeTimeout(f"the handshake took more than {limit_s:.3g} s") from None
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise handshake.disconnected() from error
    sock.settimeout(None)


def _send(sock: socket.socket, data: bytes) -> None:
    """Send, and ignore that the other side disconnected: what it sent before, or its end, can still be read."""
    with interrupts.suppress(BrokenPipeError, ConnectionResetError):
        sigpipe.without(sock.sendall, data, fd_passing.flags_for(sock))
