"""What Linux reports about processes in /proc. No other module of the tests reads /proc.

Code that runs in a target's interpreter (tests/fixture_envs, tests/libraries/programs) cannot import this and has its
own readers. Never knows what a process is for, except for the guardian's name. Python 3.10 and up.
"""

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
HAS_PROC = (PROC / "self/fd").is_dir()
# Clock ticks per second: Linux counts processor time in ticks.
TICKS_PER_S = float(os.sysconf("SC_CLK_TCK"))


# -- one process -------------------------------------------------------------------------------------------------------


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on. Raises OSError once the process has been reaped."""
    # The name before them may contain spaces and parentheses.
    # Each test reads this file of all processes, twice: pathlib takes six times as long, and open() three times.
    fd = os.open(f"{PROC}/{pid}/stat", os.O_RDONLY)
    try:
        return os.read(fd, 4096).rpartition(b")")[2].decode().split()
    finally:
        os.close(fd)


def exists(pid: int) -> bool:
    """Whether the pid is in use, also by a zombie."""
    return (PROC / str(pid)).exists()


def state(pid: int) -> str:
    """The letter of a process's state; empty for one that has ended, reaped or not."""
    with contextlib.suppress(OSError):
        letter = stat_fields(pid)[0]
        return "" if letter in "ZX" else letter
    return ""


def parent(pid: int) -> int:
    """The pid of its parent. Raises OSError once the process has been reaped."""
    return int(stat_fields(pid)[1])


def children(pid: int) -> list[int]:
    """The living children of a process, of all its threads."""
    found = []
    with contextlib.suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if state(child)]


def guardian_of(client_pid: int | None = None) -> int:
    """The pid of a process's guardian, by default of this one's. The guardian is not a child of that process."""
    of = str(client_pid or os.getpid()).encode()
    found = [
        pid
        for pid in all_pids()
        if state(pid)
        and (words := argv(pid).split(b"\0"))
        and of in words
        and any(word.endswith(b"standalone/run_guardian.py") for word in words)
    ]
    assert len(found) == 1, f"{len(found)} guardians"
    return found[0]


def argv(pid: int) -> bytes:
    """The command line as the kernel stores it, words ended by null bytes; empty once the process has ended."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes()
    return b""


def command_line(pid: int) -> str:
    """The command line as one line; empty once the process has ended."""
    return argv(pid).replace(b"\0", b" ").decode(errors="replace").strip()


def environment(pid: int) -> list[bytes]:
    """The NAME=VALUE entries that a process was started with; none once it has ended."""
    with contextlib.suppress(OSError), open(f"{PROC}/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
    return []


def open_fds(pid: int | str = "self") -> list[str]:
    """Each open fd with its target."""
    folder, found = PROC / str(pid) / "fd", []
    for fd in os.listdir(folder):
        # The fd of this listing is closed by now.
        with contextlib.suppress(OSError):
            found.append(f"{fd} -> {os.readlink(folder / fd)}")
    return found


def fd_numbers() -> list[int]:
    """The open fds of this process, including the one of this listing."""
    return [int(fd) for fd in os.listdir(PROC / "self/fd")]


def mappings(pid: int | str = "self") -> list[str]:
    """The lines of a process's memory map."""
    return (PROC / str(pid) / "maps").read_text().splitlines()


def system_call(thread_id: int) -> str:
    """The number of the system call that a thread of this process is in, or "running"."""
    return (PROC / f"self/task/{thread_id}/syscall").read_text().split()[0]


def cpu_s(pid: int) -> float:
    """The processor time of a process, of all its threads together."""
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def waits(pid: int) -> int:
    """How often a process has waited so far, for anything; 0 if it has ended."""
    with contextlib.suppress(OSError):
        fields = (PROC / str(pid) / "status").read_text().split()
        return int(fields[fields.index("voluntary_ctxt_switches:") + 1])
    return 0


def memory_bytes(pid: int | str = "self") -> int:
    """The resident memory of a process."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def held_memory_bytes() -> int:
    """The memory of this process, without what malloc keeps for later use."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
    return memory_bytes()


def peak_memory_bytes(pid: int) -> int:
    """The most memory that a process has ever had; 0 for one that has ended."""
    with contextlib.suppress(OSError, IndexError):  # a zombie has no such line
        return int((PROC / str(pid) / "status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return 0


# -- all processes -----------------------------------------------------------------------------------------------------


def all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdigit())


def started_at() -> Iterator[tuple[int, int]]:
    """Each process with its start time, in clock ticks since boot. The pair is never used again, but the pid may be."""
    if not HAS_PROC:
        return
    for pid in all_pids():
        with contextlib.suppress(OSError):
            yield pid, int(stat_fields(pid)[19])


def marked(mark: str) -> list[int]:
    """The living processes with this NAME=VALUE in the environment they were started with."""
    return [pid for pid in all_pids() if state(pid) and mark.encode() in environment(pid)]


def zombies(parent_pid: int) -> list[int]:
    """The children of a process that have ended and that it has not reaped."""
    found = []
    for pid in all_pids():
        # Any of them may end, and be reaped, during this loop.
        with contextlib.suppress(OSError):
            letter, of = stat_fields(pid)[:2]
            if letter == "Z" and int(of) == parent_pid:
                found.append(pid)
    return found


# -- the machine -------------------------------------------------------------------------------------------------------


def unix_sockets() -> str:
    """The table of Unix sockets, abstract names included."""
    return (PROC / "net/unix").read_text()


def stalled_s() -> float:
    """How long, since boot, some process was ready to run but had to wait for a processor.

    0 if the kernel does not record it.
    """
    with contextlib.suppress(OSError):
        return int((PROC / "pressure/cpu").read_text().partition("total=")[2].split()[0]) / 1e6
    return 0.0
