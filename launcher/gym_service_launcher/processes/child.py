"""One process that the launcher started: what it prints, how it ends, how it is stopped.

Knows processes, pipes and the guardian's lifeline. Never knows what the process is for. Python 3.10 and up.
"""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from gym_service_launcher.processes import guardian_client
from gym_service_launcher.processes.guardian_client import ProcessState
from gym_service_launcher.processes.logs import Log
from gym_service_launcher.processes.output import OutputTail
from gym_service_launcher.processes.pidfiles import PidFile

# The number under which a child finds the first of the descriptors that are passed to it.
FIRST_PASSED_FD = 3
# How long after the end of a process its last words may take to arrive.
LAST_WORDS_S = 0.5
# How long a process may take to write down its Python stack.
STACK_S = 0.25
# How long the kernel may take to kill.
KILL_S = 1.0

Rung = Literal["ended by itself", "asked", "terminated", "killed", "unkillable"]


class Child:
    """A process in a session of its own, so that a Ctrl-C in the terminal reaches only the client.

    It is the guardian's child, and cannot outlive this process, whatever becomes of either; nor can what it starts.
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
        spawner: guardian_client.ServerSpawner | None = None,
    ) -> None:
        """Start it.

        Args:
            argv: the command, its executable first, with its path.
            env: all of its environment variables.
            cwd: its working directory; None for the client's.
            pass_fds: descriptors that it gets as its 3, 4, …; they stay open here.
            piped: give it pipes on stdin and stdout (``take_pipes``); then stderr alone is drained.
            show: copy what it prints to this process's stderr as it comes.
            name: the name it goes by in ``gym-service ps`` and ``logs``; without one it is in neither.
            spawner: the process that forks it, instead of the guardian, which executes it.

        Raises:
            OSError: it cannot be executed, ``cwd`` is no folder, or the spawner has ended.
        """
        self.argv = tuple(argv)
        self.rung: Rung | None = None
        self._has_ended = False
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:

            def pipe(end_of_child: int) -> tuple[int, int]:
                """(the child's end, ours) of a new pipe."""
                ends = os.pipe()
                theirs.callback(os.close, ends[end_of_child])
                ours.callback(os.close, ends[1 - end_of_child])
                return ends[end_of_child], ends[1 - end_of_child]

            null = os.open(os.devnull, os.O_RDONLY)
            theirs.callback(os.close, null)
            output, output_fd = pipe(1)
            stdin, to_stdin = pipe(0) if piped else (null, -1)
            stdout, from_stdout = pipe(1) if piped else (output, -1)
            self._record = PidFile(spawner.record if spawner else None) if name else None
            if self._record:
                ours.callback(self._record.remove)
            self._lifeline = guardian_client.start(
                argv, env, cwd, [stdin, stdout, output, *pass_fds], self.record, spawner
            )
            self._pipes = from_stdout, to_stdin
            ours.pop_all()
        self._output = OutputTail(output_fd, show=show, log=Log(name, self.pid) if name else None)
        if self._record:
            self._record.write(name, Path(argv[0]), self.pid)

    @property
    def pid(self) -> int:
        """For people to read; never to be signalled by."""
        return self._lifeline.pid

    def fileno(self) -> int:
        """What to poll for its end: readable once it is time to ask for ``exit_code``. -1 after ``stop``."""
        return self._lifeline.fileno()

    @property
    def record(self) -> Path | None:
        """The file that says that it runs, and is removed once nothing of it is left."""
        return self._record.path if self._record else None

    @property
    def calls(self) -> memoryview:
        """Where to count the calls: ``calls[0]``, 64 bits without a sign. ``gym-service ps`` reads it."""
        return self._record.calls if self._record else memoryview(bytearray(8)).cast("Q")

    def rename(self, name: str) -> None:
        """Have ``gym-service ps`` show another name, which was not known at the start; the log keeps the first."""
        if self._record:
            self._record.write(name, Path(self.argv[0]), self.pid)

    def take_pipes(self) -> tuple[int, int]:
        """(read, write) descriptors of its stdout and stdin, not blocking, the caller's to close from here on."""
        for fd in self._pipes:
            os.set_blocking(fd, False)
        return self._pipes

    def tail(self) -> str:
        """The end of what it printed so far, at most 64 KiB; what is no UTF-8 stands as escapes."""
        return self._output.tail()

    @property
    def output_bytes(self) -> int:
        """How much it printed so far."""
        return self._output.total_bytes

    def output_since(self, before_bytes: int) -> str:
        """What it printed after the first ``before_bytes``, as ``tail`` gives it."""
        return self._output.since(before_bytes)

    def exit_code(self, timeout_s: float = 0.0) -> int | None:
        """Its exit code, a negative one for a signal; None if anything of it still runs after ``timeout_s`` seconds.

        Once it has ended, and with it whatever it had started, its last words are waited for.
        """
        code = self._lifeline.exit_code(timeout_s)
        if code is not None and not self._has_ended:
            self._has_ended = True
            self._output.join(LAST_WORDS_S)
        return code

    def classify_main_thread(self) -> ProcessState:
        """``stopped``, ``blocked`` or ``busy``: what its main thread does, looked at for 100 ms; else ``unknown``."""
        return self._lifeline.classify_main_thread()

    def python_stack(self) -> str:
        """Where its Python code is, as faulthandler writes it, also while C code holds the GIL; empty if it cannot.

        Blocks for at most STACK_S. The signal wakes calls that sleep: only for a process that is to be stopped.
        """
        before = self._output.total_bytes
        self._lifeline.order("d")
        # The stack of the main thread is written last, and ends in the program itself.
        return self._output.wait_for(b"in <module>\n", before, STACK_S)

    def stop(self, ask_s: float, terminate_s: float) -> Rung:
        """Climb the ladder until it has ended: wait for the end it was asked for, SIGTERM, SIGKILL.

        Blocks for at most ``ask_s`` + ``terminate_s`` and the moment that the kernel takes to kill. Returns the rung
        that ended it; any number of times.
        """
        if self.rung is None:
            self.rung = self._climb(ask_s, terminate_s)
            self._lifeline.close()
            if self._record:
                self._record.remove()
        return self.rung

    def _climb(self, ask_s: float, terminate_s: float) -> Rung:
        if self.exit_code() is not None:
            return "ended by itself"
        if ask_s > 0 and self.exit_code(ask_s) is not None:
            return "asked"
        if terminate_s > 0:
            self._lifeline.order("t")
            if self.exit_code(terminate_s) is not None:
                return "terminated"
        self._lifeline.order("k")
        return "killed" if self.exit_code(KILL_S) is not None else "unkillable"


def ending(exit_code: int | None) -> str:
    """How a process ended, as people say it."""
    if exit_code is None:
        return "still running, but its channel is closed"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name} (signal {-exit_code})"
    except ValueError:
        return f"killed by signal {-exit_code}"
