"""How two ends of a socket prove to each other that they know the same token. No I/O but in ``perform``.

Knows the bytes and the order of them. Never knows addresses or what comes after. Python 3.10 and up.

Each side sends its hello at once: its magic (8 bytes) and a nonce (32). On the server's hello the client sends its
proof (32), and on that, if it is right, the server sends its own. A proof is the HMAC-SHA256, under the token, of
the role of who proves and of both nonces: recorded it is worth nothing, and sent back it is the proof of the wrong
role. So each side reads 72 bytes, never one more, before anything is allocated or parsed; the first byte of the
magic that is wrong ends it.

The client proves itself first: the server's proof then says at the same time that the client has been let in. In its
place may stand, in as many bytes, that it has not: signed, that the server has all the clients that it lets in; or
unsigned, to one that had no time to prove itself, that too many came at once. Either may be tried again.

On a Unix socket the kernel says who is who. There the same bytes go to and fro under a key that is no secret: they say
that both are gym-service, of one version, and that there is room.
"""

import contextlib
import hmac
import secrets
import socket
import time
from typing import Literal

from gym_service_launcher.errors import AuthError
from gym_service_launcher.net.tokens import Token

Role = Literal["client", "server"]

# Its last digit is the version of the handshake. One for each role: a client that reaches itself, as TCP on loopback
# can, sees it at once.
MAGIC: dict[Role, bytes] = {"client": b"gymsvcC1", "server": b"gymsvcS1"}
NONCE_BYTES = 32
PROOF_BYTES = 32
HELLO_BYTES = len(MAGIC["client"]) + NONCE_BYTES
WHOLE_BYTES = HELLO_BYTES + PROOF_BYTES
# From the first byte to the last, those of TLS included: some round trips, with room for a busy machine.
LIMIT_S = 5.0
# Said in the place of the server's proof to whoever is sent away since others came.
SERVER_BUSY = b"gymsvcS1 too many at once".ljust(PROOF_BYTES)
# What the server signs in the place of the usual when it has no room; a magic is never this long.
FULL = b"gymsvcS1 has no room"
# The key of Unix sockets, and of nothing else.
UNIX_PEER_KEY = Token(b"the kernel says who is who", "none is needed on a Unix socket")


class HandshakeTimeout(AuthError):
    """The other side took longer than it may: it is none, or a machine is busy."""


class ServerFullError(Exception):
    """The other side has no room now; later it may. The text says why."""


class Handshake:
    """One side: send ``hello``, then give it what arrives, ``missing_bytes`` at most, and send what it returns.

    Of a server ``has_room`` may be set to False until the proof is out: then a client that knows the token is told so.
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
        """How many more the other side is to send before it is this side's turn; 0 once both are who they say."""
        have = len(self._received)
        return (HELLO_BYTES if have < HELLO_BYTES else WHOLE_BYTES) - have

    def receive(self, data: bytes) -> bytes:
        """Take what has arrived, b"" for the end of the stream, and return what is to be sent now.

        Raises:
            AuthError: the other side is no gym-service, holds another token, or has hung up.
            ServerFullError: it has no room.
        """
        assert len(data) <= self.missing_bytes, "what follows the handshake is not ours to read"
        if not data:
            raise self.hung_up()
        self._received += data
        self._check_magic()
        if len(self._received) == HELLO_BYTES:
            return self._proof(self._role) if self._role == "client" else b""
        if len(self._received) == WHOLE_BYTES:
            self._check_proof()
            return self._proof("server", full=not self.has_room) if self._role == "server" else b""
        return b""

    def hung_up(self) -> AuthError:
        """The error for a stream that has ended, or was reset, before it was done."""
        if len(self._received) < HELLO_BYTES:
            return AuthError(f"the {self._other} hung up before it said who it is")
        return AuthError(f"the {self._other} hung up during the proof: most likely it holds another token")

    def _check_magic(self) -> None:
        magic = MAGIC[self._other]
        begun = self._received[: len(magic)]
        if not magic.startswith(begun):
            raise AuthError(
                f"what answers is no {self._other} of this version of gym-service: it begins with {begun!r}"
            )

    def _check_proof(self) -> None:
        proof = self._received[HELLO_BYTES:]
        if hmac.compare_digest(proof, self._proof(self._other)):
            return
        if self._role == "client" and proof == SERVER_BUSY:
            raise ServerFullError("too many clients come to it at once")
        if self._role == "client" and hmac.compare_digest(proof, self._proof("server", full=True)):
            raise ServerFullError("it has as many clients as it lets in")
        raise AuthError(f"the {self._other} holds another token")

    def _proof(self, role: Role, *, full: bool = False) -> bytes:
        theirs = self._received[HELLO_BYTES - NONCE_BYTES : HELLO_BYTES]
        nonces = self._nonce + theirs if self._role == "client" else theirs + self._nonce
        return self._token.sign((FULL if full else MAGIC[role]) + nonces)


def perform(sock: socket.socket, handshake: Handshake, limit_s: float = LIMIT_S) -> None:
    """Carry one side through over a connected socket. Blocks for at most ``limit_s`` seconds.

    Raises:
        AuthError: it failed; the socket is of no more use.
        ServerFullError: the other side has no room now; nor is it of more use then.
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
    except TimeoutError:
        raise HandshakeTimeout(f"the handshake was not done within {limit_s:.3g} s") from None
    except OSError as error:
        raise handshake.hung_up() from error
    sock.settimeout(None)


def _send(sock: socket.socket, data: bytes) -> None:
    """Where the other side has hung up, what it said before is still there to be read, or its end is."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(data)
