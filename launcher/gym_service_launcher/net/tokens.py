"""The token of a user: the secret by which the two ends of a socket know each other.

Knows where it may lie, who makes it and when it is refused. Never knows sockets or what is proven with it. Python 3.10
and up.

Not called token.py: the probe is run by path in this folder, and there that name hides the standard library's.

It lies in a file, in an environment variable or behind an inherited descriptor; never in a command line, which every
user of a machine can read. A server makes the file where there is none, a client never does: a client that made one
would prove itself to nobody. The secret stays inside a Token, whose repr does not show it, so that it is in no log and
in no traceback.
"""

import base64
import binascii
import contextlib
import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path

from gym_service_launcher import user_dirs
from gym_service_launcher.errors import AuthError
from gym_service_launcher.standalone.env_vars import TOKEN

MADE_BYTES = 32
# 128 bits: beyond guessing, online and off.
LEAST_BYTES = 16
# The environment variable that may hold it.
VARIABLE = TOKEN
# What is longer is something else than a token.
MOST_BYTES = 4096


class Token:
    """A secret that signs and is not shown. ``origin`` says where it lies."""

    __slots__ = ("_secret", "origin")

    def __init__(self, secret: bytes, origin: str) -> None:
        if len(secret) < LEAST_BYTES:
            raise _refused(origin, f"holds {len(secret)} bytes; a token has {LEAST_BYTES} or more")
        self._secret = secret
        self.origin = origin

    def sign(self, message: bytes) -> bytes:
        """The HMAC-SHA256 of the message, 32 bytes."""
        return hmac.digest(self._secret, message, "sha256")

    def __repr__(self) -> str:
        return f"<Token: {self.origin}>"

    def __reduce__(self) -> str:
        raise TypeError("a token is not pickled: what travels is where it lies")


def usual_file() -> Path:
    """Where the token of this user lies: both sides of one machine look there unless they are told another place."""
    return user_dirs.configuration() / "token"


def of_client(file: Path | None) -> Token:
    """The token that a client proves itself with: of the file it was told, else of the variable, else of the user.

    Raises:
        AuthError: there is none, others may read it, or it is no token.
    """
    if file is None and TOKEN in os.environ:
        return of_variable()
    return read(file or usual_file())


def of_server(file: Path | None, fd: int | None) -> Token:
    """The token that a server asks for: of the file or the descriptor it was told, of the variable, or of the user.

    Only the user's own is made where there is none. Raises AuthError as ``of_client``.
    """
    if fd is not None:
        return of_descriptor(fd)
    if file is not None:
        return read(file, "gym-service token makes one")
    return of_variable() if TOKEN in os.environ else read_or_make(usual_file())


def of_variable() -> Token:
    """The token in the environment. Set and empty is no token, and no reason to look elsewhere."""
    return _token(os.environ[TOKEN].encode("utf-8", "surrogateescape"), f"${TOKEN}")


def of_descriptor(fd: int) -> Token:
    """The token that can be read from an inherited descriptor, to its end; then it is closed."""
    origin = f"descriptor {fd}"
    try:
        with open(fd, "rb") as opened:
            content = opened.read(MOST_BYTES)
    except OSError as error:
        raise _refused(origin, f"cannot be read: {error.strerror}", "gym-service run --token-fd 3 3< FILE") from error
    return _token(content, origin)


def read(file: Path, advice: str = "start the server first, as the same user: it makes one") -> Token:
    """The token in a file; ``advice`` is what to do where there is none.

    Raises:
        AuthError: it is not there, others may read it, or it is no token.
    """
    origin = _origin(file)
    try:
        # Not blocking: somebody may have put a FIFO there.
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _refused(origin, "is not there", advice) from None
    except OSError as error:
        raise _refused(origin, f"cannot be read: {error.strerror}", "a file of your own") from error
    try:
        _check(os.fstat(fd), file)
        return _token(os.read(fd, MOST_BYTES), origin)
    finally:
        os.close(fd)


def _check(state: os.stat_result, file: Path) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise _refused(_origin(file), "is no regular file")
    if state.st_mode & 0o077:
        mode = f"{stat.S_IMODE(state.st_mode):04o}"
        reason = f"may be read by others than its owner (mode {mode})"
        raise _refused(_origin(file), reason, f"chmod 600 {file}")


def read_or_make(file: Path) -> Token:
    """The token in a file, made first where there is none. For servers alone.

    Two servers that start at once agree on one: the file appears complete, and only once. One that is there is never
    changed, broken or not.

    Raises:
        AuthError: as ``read``, or the file cannot be made.
    """
    if not os.path.lexists(file):
        try:
            _make(file)
        except OSError as error:
            raise _refused(_origin(file), f"cannot be made: {error.strerror}", "another place") from error
    return read(file)


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, unfinished = tempfile.mkstemp(prefix=".token-", dir=file.parent)  # mode 0600
    try:
        with open(fd, "w") as opened:
            opened.write(secrets.token_hex(MADE_BYTES) + "\n")
        with contextlib.suppress(FileExistsError):  # another server was first: its token holds
            os.link(unfinished, file)
    finally:
        os.unlink(unfinished)


def _token(content: bytes, origin: str) -> Token:
    """Hex, or base64 of either alphabet, padded or not."""
    text = content.strip()
    with contextlib.suppress(ValueError):
        return Token(binascii.unhexlify(text), origin)
    try:
        url = text.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(text) % 4)
        secret = base64.b64decode(url, validate=True)
    except ValueError:
        # Not "from": what could not be decoded may be a secret all the same.
        raise _refused(origin, "is no token: it holds neither hex nor base64") from None
    return Token(secret, origin)


def _origin(file: Path) -> str:
    return f"the token file {file}"


def _refused(origin: str, why: str, advice: str = "") -> AuthError:
    usual = "remove it, and let the next server make a new one" if "file" in origin else "what gym-service token makes"
    return AuthError(f"{origin} {why}\n  try: {advice or usual}")
