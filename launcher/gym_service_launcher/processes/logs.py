"""The output of servers, kept in a file of bounded size for each server, in the user's state folder.

Knows files. Never knows what prints. Python 3.10 and up. Where a log cannot be written, nothing else changes.
"""

import contextlib
import os
import re
from pathlib import Path

from gym_service_launcher import user_dirs

# A log is at most two files of this size: the one being written and the one before.
FILE_BYTES = 2 * 2**20
MAX_LOGS = 64


class Log:
    """The log of one server. Its file is created with the first output."""

    def __init__(self, name: str, pid: int) -> None:
        """``name`` is the env's name. The file is ``logs/NAME.PID.log``."""
        self.path = folder() / f"{file_name(name)}.{pid}.log"
        self._fd = -1
        self._size_bytes = 0
        self._broken = False

    def write(self, data: bytes) -> None:
        """Append. A full disk or a missing folder ends the log and nothing else."""
        try:
            if not self._broken:
                self._write(data)
        except OSError:
            self._broken = True

    def close(self) -> None:
        """Any number of times."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _write(self, data: bytes) -> None:
        if self._fd >= 0 and self._size_bytes + len(data) > FILE_BYTES:
            self.close()
            os.replace(self.path, older(self.path))
        if self._fd < 0:
            self._open()
        os.write(self._fd, data)
        self._size_bytes += len(data)

    def _open(self) -> None:
        user_dirs.private(self.path.parent)
        _forget_oldest(self.path.parent)
        # Mode 0600: simulators may print secrets.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._fd = os.open(self.path, flags, 0o600)
        self._size_bytes = 0


def folder() -> Path:
    """The folder of the logs."""
    return user_dirs.state() / "logs"


def older(path: Path) -> Path:
    """The file that a log's first part was moved to when it grew too long."""
    return path.with_suffix(".1.log")


def file_name(name: str) -> str:
    """An env's name as part of a file's name."""
    return re.sub(r"[^\w.-]", "_", name)[:100]


def find(name: str) -> list[Path]:
    """The logs of an env by its name, the newest first."""
    return _newest_first(folder(), file_name(name) + ".*.log")


def of_pid(pid: str) -> list[Path]:
    """The logs of servers by their pid, the newest first."""
    return _newest_first(folder(), f"*.{pid}.log") if pid.isdigit() else []


def names() -> list[str]:
    """The envs that have logs, as ``file_name`` writes them."""
    return sorted({path.name.rsplit(".", 2)[0] for path in _newest_first(folder(), "*.log")})


def _newest_first(logs: Path, pattern: str) -> list[Path]:
    found = []
    for path in logs.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another client has just removed it
            if not path.name.endswith(".1.log"):
                found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def _forget_oldest(logs: Path) -> None:
    for path in _newest_first(logs, "*.log")[MAX_LOGS - 1 :]:
        for file in (path, older(path)):
            with contextlib.suppress(OSError):  # another process was first
                file.unlink()
