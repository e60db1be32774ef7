"""Child: one process that the launcher has started. What it prints, how it ends, how it is stopped.

Knows processes, pipes and the guardian's lifeline. Never knows what the process is for. Python 3.10 and up.
"""

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from gym_service_launcher.processes import guardian_client, pidfiles
from gym_service_launcher.processes.forked_copies import Descriptors, close_in_child, refuse_child
from gym_service_launcher.processes.guardian_client import ProcessState
from gym_service_launcher.processes.logs import Log
from gym_service_launcher.processes.output import OutputTail
from gym_service_launcher.processes.pidfiles import PidFile
from gym_service_launcher.standalone import procfs
from gym_service_launcher.standalone.guardian import Order

# The number under which a child finds the first of the descriptors that are passed to it.
FIRST_PASSED_FD = 3
# How long the last output of a process may take to arrive after its end.
LAST_OUTPUT_S = 0.5
# How long a process may take to write its Python stack.
STACK_S = 0.25
# How long the kernel may take to kill a process.
KILL_S = 1.0

Rung = Literal["ended by itself", "asked", "terminated", "killed", "unkillable"]


class Child:
    """A process without a terminal, so that Ctrl-C in the terminal reaches only the client.

    It is a child of the guardian. So neither it nor anything that it starts can outlive this process.

    Args:
        argv: the command, its executable first, with its path.
        env: all of its environment variables.
        cwd: its working directory; None for this process's.
        pass_fds: descriptors that it gets as its 3, 4, …. They stay open here.
        piped: give it pipes on stdin and stdout (``take_pipes``). Then only stderr is drained.
        show: copy its output to this process's stderr as it comes.
        name: its name in ``gym-service ps`` and ``logs``. Without a name it is in neither.
        executable: what ``gym-service ps`` shows as its interpreter, where that is not the first word of ``argv``.
        spawner: the process that starts it. None: the guardian executes it.
        record_option: an option that tells it the path of its record, as ``OFFSET:PATH`` of the part that is its own.
        is_warm: ``gym-service ps`` shows it as a fork server that outlives this process.
        process_id: the id of this process from before it made ``pass_fds``. A child that a signal handler has forked
            since starts nothing.

    Raises:
        OSError: it cannot be executed, ``cwd`` is no folder, the spawner has ended, or this is such a forked child.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None = None,
        *,
        pass_fds: Sequence[int] = (),
        piped: bool = False,
        show: bool = False,
        name: str = "",
        executable: Path | None = None,
        spawner: guardian_client.ServerSpawner | None = None,
        record_option: str = "",
        is_warm: bool = False,
        process_id: int | None = None,
    ) -> None:
        """Start it."""
        process_id = process_id or os.getpid()
        self.argv = tuple(argv)
        self._executable = executable or Path(argv[0])
        self.rung: Rung | None = None
        self._has_ended = self._is_let_go = False
        self._is_warm = is_warm
        self._spawner = spawner
        self._oom_kills = procfs.oom_kills()
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            null = theirs.enter_context(open(os.devnull, "rb", buffering=0)).fileno()
            from_output, output = _pipe(ours, theirs)
            to_stdin, stdin = _pipe(ours, theirs, child_reads=True) if piped else ([], null)
            from_stdout, stdout = _pipe(ours, theirs) if piped else ([], output)
            self._record = PidFile(spawner.record if spawner else None) if name else None
            if self._record:
                ours.callback(self._record.remove)
            fds = [stdin, stdout, output, *pass_fds]
            if record_option and self.record:
                argv = [*argv, record_option, f"{pidfiles.VIEWERS_AT}:{self.record}"]
            self._lifeline = guardian_client.start(argv, env, cwd, fds, self.record, spawner, process_id=process_id)
            ours.callback(self._lifeline.close)
            refuse_child(process_id)
            self._output = OutputTail(from_output, show=show, log=Log(name, self.pid) if name else None)
            self._pipes = from_stdout, to_stdin
            self._name = name
            self._write_record(pidfiles.STARTING)
            ours.pop_all()

    @property
    def pid(self) -> int:
        """For people to read. Never signal it: the pid may be another process's by now."""
        return self._lifeline.pid

    def fileno(self) -> int:
        """What to poll for its end. Readable: ask for ``exit_code``. -1 after ``stop``."""
        return self._lifeline.fileno()

    @property
    def record(self) -> Path | None:
        """The file that says that it runs. The guardian removes it once nothing of it is left."""
        return self._record.path if self._record else None

    @property
    def calls(self) -> memoryview:
        """Where to count the calls: ``calls[0]``, an unsigned number of 64 bits. ``gym-service ps`` reads it."""
        return self._record.calls if self._record else memoryview(bytearray(8)).cast("Q")

    def rename(self, name: str) -> None:
        """Have ``gym-service ps`` show another name, of one that is up. The log keeps the first name."""
        self._name = name
        self._write_record()

    def mark_up(self) -> None:
        """Have ``gym-service ps`` show the state of the process, and not ``starting`` any more."""
        self._write_record()

    def _write_record(self, status: str = "") -> None:
        if self._record:
            self._record.write(self._name, self._executable, self.pid, status, is_warm=self._is_warm)

    def take_pipes(self) -> tuple[int, int]:
        """(read, write): descriptors of its stdout and stdin. They do not block, and the caller closes them."""
        from_stdout, to_stdin = self._pipes
        for fd in (*from_stdout, *to_stdin):
            os.set_blocking(fd, False)
        return from_stdout.pop(), to_stdin.pop()

    def tail(self) -> str:
        """The end of its output so far, 64 KiB at most. Bytes that are not UTF-8 appear as escapes."""
        return self._output.tail()

    @property
    def output_bytes(self) -> int:
        """The size of its output so far."""
        return self._output.total_bytes

    def output_since(self, before_bytes: int) -> str:
        """Its output after the first ``before_bytes``, as ``tail`` gives it."""
        return self._output.since(before_bytes)

    def exit_code(self, timeout_s: float = 0.0) -> int | None:
        """Its exit code (negative: a signal); None while it, or anything that it started, still runs.

        Blocks for ``timeout_s`` seconds at most, and LAST_OUTPUT_S for its last output.
        """
        code = self._lifeline.exit_code(timeout_s)
        if code is None and self._spawner:
            code = self._exit_code_of_zombie()
        if code is not None and not self._has_ended:
            self._has_ended = True
            self._output.join(LAST_OUTPUT_S)
        return code

    def _exit_code_of_zombie(self) -> int | None:
        """The exit code where it has ended, but its spawner is stopped and does not reap it; else None."""
        code = procfs.zombie_exit_code(self.pid)
        return code if code is not None and self._spawner and self._spawner.is_stopped() else None

    def oom_kills(self, exit_code: int | None) -> int:
        """How many processes the kernel killed for lack of memory since its start; 0 if it did not die of SIGKILL."""
        before, now = self._oom_kills, procfs.oom_kills()
        if exit_code != -signal.SIGKILL or before is None or now is None:
            return 0
        return max(now - before, 0)

    def describe_exit(self, exit_code: int | None) -> str:
        """How it ended, in words; after a SIGKILL also whether the kernel has run out of memory meanwhile."""
        kills = self.oom_kills(exit_code)
        if not kills:
            return ending(exit_code)
        killed = "a process" if kills == 1 else f"{kills} processes"
        return f"{ending(exit_code)}; since its start the kernel killed {killed} for lack of memory"

    def classify_main_thread(self) -> ProcessState:
        """What its main thread does: ``stopped``, ``blocked``, ``busy`` or ``unknown``. Blocks for some 100 ms."""
        return self._lifeline.classify_main_thread()

    def python_stack(self) -> str:
        """Its Python stack, as faulthandler writes it, also while C code holds the GIL; empty where it writes none.

        Blocks for STACK_S at most. The signal wakes calls that sleep: only for a process that is stopped right after.
        """
        before = self._output.total_bytes
        self._lifeline.order(Order.DUMP_STACK)
        # The stack of the main thread is written last, and ends in the program itself.
        return self._output.wait_for(b"in <module>\n", before, STACK_S)

    def stop(self, ask_s: float, terminate_s: float) -> Rung:
        """See it to its end: wait ``ask_s`` for it to end by itself, then SIGTERM, ``terminate_s`` later SIGKILL.

        Blocks for ``ask_s`` + ``terminate_s`` + KILL_S at most. Returns what ended it. Any number of times.
        """
        for _ in self.stop_in_steps(ask_s, terminate_s):
            pass
        assert self.rung
        return self.rung

    def stop_in_steps(self, ask_s: float, terminate_s: float) -> Iterator[None]:
        """``stop`` in steps. Who stops several takes the same step of each in turn: then their waits overlap.

        A step waits for what the step before it has begun. Its time counts from there on.
        """
        if self._is_let_go:
            return
        if self.rung is None:
            self.rung = yield from self._climb(ask_s, terminate_s)
        self._lifeline.close()
        if self._record and self._is_warm and self.rung == "unkillable":
            self._write_record(pidfiles.WARM)  # it was ready meanwhile, so it is kept; its guardian has the record
        elif self._record:
            self._record.remove()
        self._is_let_go = True  # set last, so that the next call repeats what an interrupt has left undone

    def leave(self) -> None:
        """Let it go on without this process, where its guardian allows that. Its record and its log stay."""
        self._write_record(pidfiles.WARM)
        self._lifeline.close()

    def _climb(self, ask_s: float, terminate_s: float) -> Generator[None, None, Rung]:
        if self.exit_code() is not None:
            return "ended by itself"
        if ask_s > 0 and (yield from self._has_ended_in(ask_s)):
            return "asked"
        if terminate_s > 0:
            self._lifeline.order(Order.TERMINATE)
            if (yield from self._has_ended_in(terminate_s)):
                return "terminated"
        self._lifeline.order(Order.KILL)
        return "killed" if (yield from self._has_ended_in(KILL_S)) else "unkillable"

    def _has_ended_in(self, wait_s: float) -> Generator[None, None, bool]:
        """Whether it ends within so many seconds from now. The next step waits for that."""
        deadline = time.monotonic() + wait_s
        yield
        return self.exit_code(max(0.0, deadline - time.monotonic())) is not None


def _pipe(
    ours: contextlib.ExitStack, theirs: contextlib.ExitStack, *, child_reads: bool = False
) -> tuple[list[int], int]:
    """([our end], the child's end) of a new pipe. Each of the stacks closes its end.

    A caller that takes our end out of the list closes it itself.
    """
    our_end = Descriptors()
    their_end: list[int] = []
    close_in_child(our_end)
    ours.callback(our_end.close)
    # Each in one step of the interpreter: an interrupt can lose a descriptor only between two of these lines.
    our_end += itertools.chain.from_iterable(itertools.starmap(os.pipe, [()]))
    their_end += map(our_end.pop, [0 if child_reads else 1])
    # Not a function of ours, which an interrupt could end before it has closed: the output would have no end.
    theirs.callback(os.close, their_end[0])
    return our_end, their_end[0]


def ending(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is None:
        return "still running, but its channel is closed"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name} (signal {-exit_code})"
    except ValueError:
        return f"killed by signal {-exit_code}"
