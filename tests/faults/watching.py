"""What other processes do, waited for: the one place of the fault suite that looks, and looks again, until a deadline.

Knows /proc. Never knows what a process is for. Python 3.10 and up.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from faults.clock import Clock

PROC = Path("/proc")
# Between two looks.
LOOK_S = 0.002
# For what takes no time on an idle machine, and its turn on a busy one.
PATIENCE_S = 60.0


def until(condition: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> float:
    """Wait until the condition holds; the seconds that took. Fails with ``what`` at the deadline."""
    clock = Clock()
    while not condition():
        if clock.took_s > within_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(LOOK_S)
    return clock.took_s


def state(pid: int) -> str:
    """The state of a process as /proc has it; empty for one that has ended, reaped or not."""
    with contextlib.suppress(OSError):
        letter = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        return "" if letter in "ZX" else letter
    return ""


def until_dead(pids: Iterable[int], within_s: float = PATIENCE_S) -> float:
    """Wait until all of these processes have ended; the seconds that took."""
    rest = set(pids)

    def all_dead() -> bool:
        rest.difference_update([pid for pid in rest if not state(pid)])
        return not rest

    return until(all_dead, f"the end of {len(rest)} processes: {', '.join(map(command_line, rest))}", within_s)


def until_state(pid: int, letters: str) -> None:
    """Wait until a process is in one of these states."""
    until(lambda: state(pid) and state(pid) in letters, f"process {pid} in a state of {letters}")


def marked(mark: str) -> list[int]:
    """The living processes with this NAME=VALUE in the environment they were started with."""
    return [pid for pid in all_pids() if state(pid) and mark.encode() in environment_of(pid)]


def environment_of(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    return []


def all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdigit())


def children(pid: int) -> list[int]:
    """The living children of a process, of all its threads."""
    found = []
    with contextlib.suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if state(child)]


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return f"{pid} {(PROC / str(pid) / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()[:200]}"
    return str(pid)


def guardian_of(client_pid: int | None = None) -> int:
    """The pid of a process's guardian, by default of this one's."""
    client_pid = client_pid or os.getpid()
    found = [pid for pid in children(client_pid) if "guardian.py" in command_line(pid)]
    assert len(found) == 1, f"{len(found)} guardians"
    return found[0]


def cpu_s(pid: int) -> float:
    """How long a process has run, all its threads together."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def memory_bytes(pid: int | str = "self") -> int:
    """The resident memory of a process."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def open_fds(pid: int | str = "self") -> list[str]:
    """Each open fd with what it leads to."""
    folder, found = PROC / str(pid) / "fd", []
    for fd in os.listdir(folder):
        with contextlib.suppress(OSError):
            found.append(f"{fd} -> {os.readlink(folder / fd)}")
    return found
