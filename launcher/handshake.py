"""How two ends of a socket prove to each other that they know the same token. No I/O but in ``perform``.

Knows the bytes and the order of them. Never knows addresses or what comes after. Python 3.10 and up.

Each side sends its hello at once: its magic (8 bytes) and a nonce (32). On the server's hello the client sends its
proof (32), and on that, if it is right, the server sends its own. A proof is the HMAC-SHA256, under the token, of
the role of who proves and of both nonces: recorded it is worth nothing, and sent back it is the proof of the wrong
role. So each side reads 72 bytes, never one more, before anything is allocated or parsed; the first byte of the
magic that is wrong ends it.

The client proves itself first: the server's proof then says at the same time that the client has been let in.
"""

import hmac
import secrets
import socket
import time
from typing import Literal

from gym_service_launcher.errors import AuthError
from gym_service_launcher.tokens import Token

Role = Literal["client", "server"]

# Its last digit is the version of the handshake. One for each role: a client that reaches itself, as TCP on loopback
# can, sees it at once.
MAGIC: dict[Role, bytes] = {"client": b"gymsvcC1", "server": b"gymsvcS1"}
NONCE_BYTES = 32
PROOF_BYTES = 32
HELLO_BYTES = len(MAGIC["client"]) + NONCE_BYTES
WHOLE_BYTES = HELLO_BYTES + PROOF_BYTES
# From the first byte to the last: some round trips, with room for a busy machine.
LIMIT_S = 5.0


class Handshake:
    """One side: send ``hello``, then give it what arrives, ``missing_bytes`` at most, and send what it returns."""

    def __init__(self, role: Role, token: Token) -> None:
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
            return self._proof(self._role) if self._role == "server" else b""
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
        if not hmac.compare_digest(self._received[HELLO_BYTES:], self._proof(self._other)):
            raise AuthError(f"the {self._other} holds another token")

    def _proof(self, role: Role) -> bytes:
        theirs = self._received[HELLO_BYTES - NONCE_BYTES : HELLO_BYTES]
        nonces = self._nonce + theirs if self._role == "client" else theirs + self._nonce
        return self._token.sign(MAGIC[role] + nonces)


def perform(sock: socket.socket, handshake: Handshake, limit_s: float = LIMIT_S) -> None:
    """Carry one side through over a connected socket. Blocks for at most ``limit_s`` seconds.

    Raises:
        AuthError: it failed; the socket is of no more use.
    """
    deadline = time.monotonic() + limit_s
    answer = handshake.hello
    try:
        while True:
            sock.settimeout(max(deadline - time.monotonic(), 1e-6))
            sock.sendall(answer)
            if not handshake.missing_bytes:
                break
            answer = handshake.receive(sock.recv(handshake.missing_bytes))
    except TimeoutError:
        raise AuthError(f"the handshake was not done within {limit_s:g} s") from None
    except OSError as error:
        raise handshake.hung_up() from error
    sock.settimeout(None)
