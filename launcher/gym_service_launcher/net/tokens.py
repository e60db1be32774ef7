"""Tokens: the shared secret that authenticates the two ends of a TCP connection.

Knows where a token can be, who creates it and when it is refused. Never knows sockets or the handshake. Python 3.10 and
up.

A token is in a file, in an environment variable or behind an inherited file descriptor. It is never on a command line,
which every user of a machine can read. A server creates the file if there is none. A client never does, because no
server would know that token. The secret stays inside a Token, whose repr hides it, so no log and no traceback shows it.
"""

import base64
import binascii
import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path

from gym_service_launcher import user_dirs
from gym_service_launcher.errors import AuthError
from gym_service_launcher.standalone import interrupts
from gym_service_launcher.standalone.env_vars import TOKEN

CREATED_BYTES = 32
# 128 bits cannot be guessed, online or offline.
SHORTEST_BYTES = 16
# The environment variable that may contain a token.
VARIABLE = TOKEN
# What a client can try that has no token: only the server creates one.
COPY_ADVICE = (
    "copy the token file of the server's machine to this path, with mode 0600 (gym-service token prints its path "
    "there); on one machine, start the server first, as the same user: it creates one"
)
# A longer file is not a token.
LONGEST_BYTES = 4096


class Token:
    """A secret that signs and is never shown. ``origin`` says where it comes from."""

    __slots__ = ("_secret", "origin")

    def __init__(self, secret: bytes, origin: str) -> None:
        if len(secret) < SHORTEST_BYTES:
            raise _refused(origin, f"has {len(secret)} bytes; a token has {SHORTEST_BYTES} or more")
        self._secret = secret
        self.origin = origin

    def sign(self, message: bytes) -> bytes:
        """The HMAC-SHA256 of the message, 32 bytes."""
        return hmac.digest(self._secret, message, "sha256")

    def __repr__(self) -> str:
        return f"<Token: {self.origin}>"

    def __reduce__(self) -> str:
        raise TypeError("a token cannot be pickled: send its location instead")


def usual_file() -> Path:
    """The token file of this user, which clients and servers use by default."""
    return user_dirs.configuration() / "token"


def of_client(file: Path | None) -> Token:
    """The token of a client: that of ``file``, else of $GYM_SERVICE_TOKEN, else of this user.

    Raises:
        AuthError: there is none, other users can read it, or it is not a token.
    """
    if file is None and TOKEN in os.environ:
        return of_variable()
    return read(file or usual_file())


def of_server(file: Path | None, fd: int | None) -> Token:
    """The token of a server: that of ``fd`` or ``file``, else of $GYM_SERVICE_TOKEN, else of this user.

    Creates that of this user if there is none.

    Raises:
        AuthError: as ``of_client``, or the file cannot be created.
    """
    if fd is not None:
        return of_descriptor(fd)
    if file is not None:
        return read(file, "gym-service token creates one")
    return of_variable() if TOKEN in os.environ else read_or_make(usual_file())


def of_variable() -> Token:
    """The token in the environment. An empty variable is an error: no other place is tried."""
    return _token(os.environ[TOKEN].encode("utf-8", "surrogateescape"), f"${TOKEN}")


def of_descriptor(fd: int) -> Token:
    """The token behind an inherited file descriptor. Reads to its end, which may block, and closes it."""
    origin = f"descriptor {fd}"
    try:
        with open(fd, "rb") as opened:
            content = opened.read(LONGEST_BYTES)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise _refused(origin, f"cannot be read: {error.strerror}", "gym-service run --token-fd 3 3< FILE") from error
    return _token(content, origin)


def read(file: Path, advice: str = COPY_ADVICE) -> Token:
    """The token in a file. ``advice`` is what to try if there is none.

    Raises:
        AuthError: the file does not exist, other users can read it, or it is not a token.
    """
    origin = _origin(file)
    try:
        # O_NONBLOCK, because the file may be a FIFO.
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        interrupts.raise_if_from_handler(error)
        raise _refused(origin, "does not exist", advice) from None
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise _refused(origin, f"cannot be read: {error.strerror}", "a file of your own") from error
    try:
        _check(os.fstat(fd), file)
        return _token(os.read(fd, LONGEST_BYTES), origin)
    finally:
        os.close(fd)


def _check(state: os.stat_result, file: Path) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise _refused(_origin(file), "is not a regular file")
    if state.st_mode & 0o077:
        mode = f"{stat.S_IMODE(state.st_mode):04o}"
        reason = f"can be read by other users (mode {mode})"
        raise _refused(_origin(file), reason, f"chmod 600 {file}")


def read_or_make(file: Path) -> Token:
    """The token in a file, which is created if there is none. For servers only.

    Two servers that start at the same time get the same token: the file appears once, and complete. An existing file is
    never changed, even if it is not a token.

    Raises:
        AuthError: as ``read``, or the file cannot be created.
    """
    if not os.path.lexists(file):
        try:
            _make(file)
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            raise _refused(_origin(file), f"cannot be created: {error.strerror or error}", "another path") from error
    return read(file)


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, unfinished = tempfile.mkstemp(prefix=".token-", dir=file.parent)  # mode 0600
    try:
        with open(fd, "w") as opened:
            opened.write(secrets.token_hex(CREATED_BYTES) + "\n")
        with interrupts.suppress(FileExistsError):  # another server was faster: use its token
            os.link(unfinished, file)
    finally:
        os.unlink(unfinished)


def _token(content: bytes, origin: str) -> Token:
    """Hex, or base64 of either alphabet, padded or not."""
    text = content.strip()
    with interrupts.suppress(ValueError):
        return Token(binascii.unhexlify(text), origin)
    try:
        url = text.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(text) % 4)
        secret = base64.b64decode(url, validate=True)
    except ValueError as error:
        # Not "from error": what cannot be decoded may still be a secret.
        interrupts.raise_if_from_handler(error)
        raise _refused(origin, "is not a token: it contains neither hex nor base64") from None
    return Token(secret, origin)


def _origin(file: Path) -> str:
    return f"the token file {file}"


def _refused(origin: str, why: str, advice: str = "") -> AuthError:
    usual = "remove it; the next server creates a new one" if "file" in origin else "a token of gym-service token"
    return AuthError(f"{origin} {why}\n  try: {advice or usual}")
