"""Unix sockets for both ends: their paths, the user at the other end, and sockets that dead servers left behind.

Knows paths, modes and user ids. Never knows what is sent. Python 3.10 and up.

The kernel says which user is at the other end, so no token is needed. For a listening socket it is the user who bound
it, so a client notices a socket that another user put at the expected path.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from gym_service_launcher import user_dirs
from gym_service_launcher.errors import AuthError, ConfigError, ServerStartError
from gym_service_launcher.standalone import interrupts

BACKLOG = 128
# The size of sun_path without its NUL.
LONGEST_PATH_BYTES = 107 if sys.platform.startswith("linux") else 103
# struct ucred of Linux: pid, uid, gid.
CREDENTIALS = struct.Struct("3i")
# struct xucred of macOS: version, uid, and groups, which are ignored. Python has no names for level and option.
XUCRED, XUCRED_BYTES, SOL_LOCAL, LOCAL_PEERCRED = struct.Struct("II"), 76, 0, 1


def usual_path(executable: Path) -> Path:
    """The default path for the server of an interpreter. It never changes, so that an entry can name it.

    It is in the user's runtime directory and has the name of the venv. The digits distinguish venvs of one name.
    """
    folder = executable.parent.parent if executable.parent.name == "bin" else executable
    name = re.sub(r"[^\w.-]", "_", folder.name.lstrip("."))[:40] or "python"
    digest = hashlib.sha256(os.fsencode(executable)).hexdigest()[:8]
    return user_dirs.runtime_dir() / f"{name}-{digest}.sock"


def peer(sock: socket.socket) -> tuple[int, int]:
    """(process id, user id) of the other end of a connected socket: that which connected, or that which listens.

    The process id is 0 if the system does not know it, or the process is in another container.
    """
    if hasattr(socket, "SO_PEERCRED"):
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return CREDENTIALS.unpack(found)[:2]
    return 0, XUCRED.unpack(sock.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED_BYTES)[: XUCRED.size])[1]


def refuse_other_users(sock: socket.socket) -> None:
    """Raise AuthError if the client at the other end belongs to another user."""
    _, uid = peer(sock)
    if uid != os.geteuid():
        raise AuthError(f"it belongs to user {uid}, and this server to user {os.geteuid()}")


def connect(path: str, timeout_s: float) -> socket.socket:
    """A connection to a server of this user. Blocks for at most ``timeout_s`` seconds.

    Raises:
        OSError: no server listens there.
        AuthError: the server belongs to another user.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout_s)
        sock.connect(path)
        _, uid = peer(sock)
        if uid != os.geteuid():
            raise AuthError(f"that server belongs to user {uid}, and this client to user {os.geteuid()}")
    except BaseException:
        sock.close()
        raise
    return sock


def bind(path: Path) -> socket.socket:
    """A listening socket for this user only. ``remove`` removes its file.

    Replaces the socket of a dead server. Creates a missing folder, for this user only.

    Raises:
        ConfigError: the path cannot be used, other users could replace the socket, or there is a file that is not a
            socket.
        ServerStartError: a server already listens there.
    """
    check_length(path)
    try:
        with _folder_locked(path.parent):
            _remove_stale(path)
            return _bind(path)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise _unusable(path, f"cannot be bound: {error.strerror or error}", "another path, --unix PATH") from error


def check_length(path: Path) -> None:
    """Raise ConfigError if the path is too long for a Unix socket."""
    if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
        raise _unusable(path, f"is longer than {LONGEST_PATH_BYTES} bytes, the limit of Unix sockets", "--unix PATH")


def remove(path: Path, bound: os.stat_result) -> None:
    """Remove the file of a socket, unless another socket has replaced it."""
    with interrupts.suppress(OSError), _folder_locked(path.parent):
        if os.path.samestat(os.lstat(path), bound):
            path.unlink()


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Exclude other servers of gym-service that bind in this folder. The kernel releases the lock with the process."""
    if folder == user_dirs.runtime_dir():
        user_dirs.private(folder)
    else:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_folder(folder, os.fstat(fd))
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _check_folder(folder: Path, state: os.stat_result) -> None:
    if state.st_uid not in (0, os.geteuid()):
        raise _unusable(folder, f"belongs to user {state.st_uid}, who could replace the socket", "a folder of your own")
    if state.st_mode & 0o022 and not state.st_mode & stat.S_ISVTX:
        mode = f"{stat.S_IMODE(state.st_mode):04o}"
        raise _unusable(folder, f"can be written by other users (mode {mode})", f"chmod 700 {folder}")


def _remove_stale(path: Path) -> None:
    """Remove the socket of a dead server. Anything else is left alone."""
    try:
        state = os.lstat(path)
    except FileNotFoundError as error:
        interrupts.raise_if_from_handler(error)
        return
    if not stat.S_ISSOCK(state.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(state.st_mode) else "not a socket"
        raise _unusable(path, f"exists and is {what}", "remove it, or another path")
    if state.st_uid != os.geteuid():
        raise _unusable(path, f"is the socket of user {state.st_uid}", "another path")
    with socket.socket(socket.AF_UNIX) as probe:
        # Non-blocking, because the backlog may be full. Only ECONNREFUSED says that no server listens.
        probe.setblocking(False)
        if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink()
            return
    text = f"a server already listens at unix://{path}\n  try: use that server, or --unix PATH for another one"
    raise ServerStartError(text, argv=(), interpreter="", exit_code=None, tail="")


def _bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        if sys.platform.startswith("linux"):
            os.fchmod(sock.fileno(), 0o600)  # bind() takes it for the file
            sock.bind(str(path))
        else:
            before = os.umask(0o177)  # for all threads of this process
            try:
                sock.bind(str(path))
            finally:
                os.umask(before)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _unusable(path: Path, why: str, advice: str) -> ConfigError:
    return ConfigError(f"{path} {why}\n  try: {advice}", file=None, key="unix")
