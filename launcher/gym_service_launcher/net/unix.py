"""Unix sockets as both ends use them: where one lies, who may be at its other end, and who had its place before.

Knows paths, modes and user ids. Never knows what is said over the socket. Python 3.10 and up.

The kernel says who is at the other end, so no token is needed. That of a listening socket is the user who bound it,
which keeps a client from a socket that somebody else has put where it looks.
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

BACKLOG = 128
# What fits into sun_path, its NUL left out.
MOST_PATH_BYTES = 107 if sys.platform.startswith("linux") else 103
# struct ucred of Linux: pid, uid, gid.
CREDENTIALS = struct.Struct("3i")
# struct xucred of macOS: version, uid, and groups, which are of no interest. Level and option have no names in Python.
XUCRED, XUCRED_BYTES, SOL_LOCAL, LOCAL_PEERCRED = struct.Struct("II"), 76, 0, 1


def usual_path(executable: Path) -> Path:
    """Where the server of an interpreter listens unless told otherwise: the same place each time, for entries to name.

    In the user's run-time folder, by the name of the venv; the digits tell two of one name apart.
    """
    folder = executable.parent.parent if executable.parent.name == "bin" else executable
    name = re.sub(r"[^\w.-]", "_", folder.name.lstrip("."))[:40] or "python"
    digest = hashlib.sha256(os.fsencode(executable)).hexdigest()[:8]
    return user_dirs.runtime_dir() / f"{name}-{digest}.sock"


def peer(sock: socket.socket) -> tuple[int, int]:
    """(process, user) at the other end of a connected socket: who connected, or who listens there.

    The process is 0 where the system does not say, or cannot: it is in another container.
    """
    if hasattr(socket, "SO_PEERCRED"):
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return CREDENTIALS.unpack(found)[:2]
    return 0, XUCRED.unpack(sock.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED_BYTES)[: XUCRED.size])[1]


def connect(path: str, timeout_s: float) -> socket.socket:
    """A connection to a server of this same user.

    Raises:
        OSError: nobody listens there.
        AuthError: somebody else does.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout_s)
        sock.connect(path)
        _, uid = peer(sock)
        if uid != os.geteuid():
            raise AuthError(f"what listens there is of user {uid}, and this is user {os.geteuid()}")
    except BaseException:
        sock.close()
        raise
    return sock


def bind(path: Path) -> socket.socket:
    """A listening socket, for this user alone; ``remove`` takes its file away.

    What a dead server has left there is replaced. A folder that is missing is made, for this user alone.

    Raises:
        ConfigError: there is no such place, others could put something else there, or what is there is no socket.
        ServerStartError: a server listens there already.
    """
    if len(os.fsencode(path)) > MOST_PATH_BYTES:
        raise _no_place(path, f"is longer than the {MOST_PATH_BYTES} bytes that a Unix socket may have", "--unix PATH")
    try:
        with _folder_locked(path.parent):
            _make_room(path)
            return _bind(path)
    except OSError as error:
        raise _no_place(path, f"cannot be bound: {error.strerror}", "another place, --unix PATH") from error


def remove(path: Path, bound: os.stat_result) -> None:
    """Take the file of a socket away, unless it is another one's by now."""
    with contextlib.suppress(OSError), _folder_locked(path.parent):
        if os.path.samestat(os.lstat(path), bound):
            path.unlink()


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Alone among the servers of gym-service that bind in this folder. The kernel ends it with the process."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_folder(folder, os.fstat(fd))
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _check_folder(folder: Path, state: os.stat_result) -> None:
    if folder == user_dirs.runtime_dir() and state.st_uid == os.geteuid() and state.st_mode & 0o077:
        os.chmod(folder, 0o700)  # it is this program's own
    elif state.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise _no_place(
            folder, f"is of user {state.st_uid}, who could put another socket there", "a folder of your own"
        )
    elif state.st_mode & 0o022 and not state.st_mode & stat.S_ISVTX:
        mode = f"{stat.S_IMODE(state.st_mode):04o}"
        raise _no_place(folder, f"may be written to by others (mode {mode})", f"chmod 700 {folder}")


def _make_room(path: Path) -> None:
    """Remove the socket of a server that has died; whatever else is there is left alone."""
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(state.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(state.st_mode) else "no socket"
        raise _no_place(path, f"is there already, and is {what}", "remove it, or another place")
    if state.st_uid != os.geteuid():
        raise _no_place(path, f"is the socket of user {state.st_uid}", "another place")
    with socket.socket(socket.AF_UNIX) as probe:
        # Its backlog may be full: whether somebody listens is known all the same.
        probe.setblocking(False)
        if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink()
            return
    text = f"a server listens at unix://{path} already\n  try: its clients can use that one; --unix PATH for another"
    raise ServerStartError(text, argv=(), interpreter="", exit_code=None, tail="")


def _bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _no_place(path: Path, why: str, advice: str) -> ConfigError:
    return ConfigError(f"{path} {why}\n  try: {advice}", file=None, key="unix")
