"""The token of a user: the secret by which the two ends of a socket know each other.

Knows its file, who makes it and when it is refused. Never knows sockets or what is proven with it. Python 3.10 and up.

Not called token.py: the probe is run by path in this folder, and there that name hides the standard library's.

A server makes the file where there is none, a client never does: a client that made one would prove itself to nobody.
The secret stays inside a Token, whose repr does not show it, so that it is in no log and in no traceback.
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

from gym_service_launcher.config import config_home
from gym_service_launcher.errors import AuthError

MADE_BYTES = 32
# 128 bits: beyond guessing, online and off.
LEAST_BYTES = 16
# A file that is longer is something else than a token.
MOST_BYTES = 4096


class Token:
    """A secret that signs and is not shown."""

    __slots__ = ("_secret", "file")

    def __init__(self, secret: bytes, file: Path) -> None:
        if len(secret) < LEAST_BYTES:
            raise _refused(file, f"holds {len(secret)} bytes; a token has {LEAST_BYTES} or more")
        self._secret = secret
        self.file = file

    def sign(self, message: bytes) -> bytes:
        """The HMAC-SHA256 of the message, 32 bytes."""
        return hmac.digest(self._secret, message, "sha256")

    def __repr__(self) -> str:
        return f"<Token of {self.file}>"

    def __reduce__(self) -> str:
        raise TypeError("a token is not pickled: what travels is the name of its file")


def usual_file() -> Path:
    """Where the token of this user lies: both sides of one machine look there unless they are told another place."""
    return config_home() / "gym-service" / "token"


def read(file: Path) -> Token:
    """The token in a file.

    Raises:
        AuthError: it is not there, others may read it, or it is no token.
    """
    try:
        # Not blocking: somebody may have put a FIFO there.
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _refused(file, "is not there", "start the server first, as the same user: it makes one") from None
    except OSError as error:
        raise _refused(file, f"cannot be read: {error.strerror}", "a file of your own") from error
    try:
        _check(os.fstat(fd), file)
        return Token(_decoded(os.read(fd, MOST_BYTES), file), file)
    finally:
        os.close(fd)


def _check(state: os.stat_result, file: Path) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise _refused(file, "is no regular file")
    if state.st_mode & 0o077:
        mode = f"{stat.S_IMODE(state.st_mode):04o}"
        raise _refused(file, f"may be read by others than its owner (mode {mode})", f"chmod 600 {file}")


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
            raise _refused(file, f"cannot be made: {error.strerror}") from error
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


def _decoded(content: bytes, file: Path) -> bytes:
    """Hex, or base64 of either alphabet, padded or not."""
    text = content.strip()
    with contextlib.suppress(ValueError):
        return binascii.unhexlify(text)
    try:
        return base64.b64decode(text.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise _refused(file, "is no token: it holds neither hex nor base64") from None


def _refused(file: Path, why: str, advice: str = "remove it, and let the next server make a new one") -> AuthError:
    return AuthError(f"the token file {file} {why}\n  try: {advice}")
