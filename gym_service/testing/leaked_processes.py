"""What a server has left behind: processes that carry its mark.

Knows /proc, and that a child inherits its parent's environment. Python 3.10 and up. Where there is no /proc, nothing
can be seen, and ``can_see`` says so.
"""

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

PROC = Path("/proc")
NAME = "GYM_SERVICE_CHECK"
LOOK_S = 0.01
# Killed processes have to be scheduled once more to be gone, on a busy machine too.
GRACE_S = 10.0


def can_see() -> bool:
    return (PROC / "self/environ").exists()


def new_mark() -> str:
    """The value of ``NAME`` in the environment of one server and all that it starts."""
    return secrets.token_hex(8)


def find_marked(mark: str) -> list[int]:
    """The living processes with this mark."""
    wanted = f"{NAME}={mark}".encode()
    return [int(pid) for pid in os.listdir(PROC) if pid.isdigit() and wanted in _environ(pid) and _is_alive(pid)]


def wait_until_gone(mark: str) -> list[str]:
    """Each process that is still there when the dying had their time: ``pid command line``."""
    end = time.monotonic() + GRACE_S
    while (left := find_marked(mark)) and time.monotonic() < end:
        time.sleep(LOOK_S)
    return [f"{pid} {_command_line(pid)}" for pid in left]


def send(pid: int, mark: str, number: signal.Signals) -> bool:
    """Send a signal to a process that carries the mark, and to no other that has come by its pid. Whether it was."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            if pid in find_marked(mark):
                signal.pidfd_send_signal(fd, number)
                return True
        finally:
            os.close(fd)
    return False


def _environ(pid: str) -> list[bytes]:
    # It may end, or turn out to be another user's, while we look.
    with contextlib.suppress(OSError):
        return (PROC / pid / "environ").read_bytes().split(b"\0")
    return []


def _is_alive(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return (PROC / pid / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return "(gone)"
