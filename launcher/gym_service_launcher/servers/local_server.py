"""LocalServer: a server that this process has started on this machine, and the reason where that failed.

Knows entries, interpreters and children. Never knows what travels on the stream. Python 3.10 and up.
"""

import contextlib
import os
import shlex
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ServerCrashed, ServerStartError
from gym_service_launcher.interpreters.environment import TargetEnvironment, environment_of
from gym_service_launcher.processes.child import FIRST_PASSED_FD, Child
from gym_service_launcher.processes.forked_copies import close_in_child
from gym_service_launcher.servers.link import (
    ServerLink,
    import_statement,
    output_block,
    start_statement,
)
from gym_service_launcher.servers.program import VIEWERS_OPTION, server_argv
from gym_service_launcher.servers.stream import Opening, PipeEnds, SocketEnd, StreamEnd
from gym_service_launcher.standalone import activation, interrupts

if TYPE_CHECKING:
    from gym_service_launcher.processes.forkservers import AnyForkServer, ForkServerRef

TERMINATE_S = 2.0
# How long a server may take to end after its stream has ended: its exit code is part of the error.
DEATH_S = 1.0


class LocalServer(ServerLink):
    """A server that was started on this machine: its process, and the client's end of its stream."""

    def __init__(
        self,
        entry: Entry,
        executable: Path,
        child: Child,
        end: StreamEnd,
        opening: Opening,
        memory: socket.socket,
        *,
        fork_server: "ForkServerRef | None" = None,
        not_forked: str = "",
        started_at: float,
    ) -> None:
        """Own all of them from here on.

        ``memory`` is the socket over which shared memory is passed. ``fork_server`` refers to the one that the entry
        asks for with ``prefork``; ``not_forked`` is the reason why it has not forked this server, if it has not.
        """
        self.started_at = started_at
        self._entry = entry
        self._executable = executable
        self._child = child
        self._end: StreamEnd | None = end
        self._opening = opening
        self._memory: socket.socket | None = memory
        self._fork_server = fork_server
        self._not_forked = not_forked

    @property
    def place(self) -> str:
        return f"{self._executable}, process {self._child.pid}"

    def wait_until_up(self, deadline: float) -> bool:
        assert self._end, "the stream is taken later"
        try:
            return self._opening.wait(self._end, deadline)
        except EOFError as error:
            self._end.close()  # a server that has closed its end only waits for this one
            raise self.start_error() from error

    def take_stream(self) -> StreamEnd:
        end, self._end = self._end, None
        assert end, "the stream is taken once"
        return end

    def accept_memory(self) -> socket.socket | None:
        memory, self._memory = self._memory, None
        return memory

    def start_warning(self) -> str:
        if self._not_forked:
            return f"{self._entry.name!r} was started without prefork: {self._not_forked}"
        not_kept = self._fork_server.fork_server.not_kept if self._fork_server else ""
        return f"{self._entry.name!r} is not kept warm: {not_kept}" if not_kept else ""

    def env_is_made(self) -> None:
        self._child.mark_up()

    def keep_for_restart(self) -> Callable[[float], None]:
        """Keeps the fork server, so that the next server is forked from it."""
        if self._fork_server is None:
            return super().keep_for_restart()
        return self._fork_server.duplicate().release

    def start_error(
        self, reason: str = "", advice: str = "", *, probe: bool = True, tail: str | None = None
    ) -> ServerStartError:
        exit_code = self._child.exit_code(0.0 if reason else DEATH_S)
        tail = self.tail() if tail is None else tail
        problem, repair = self._probed() if probe else ("", "")
        return failed_start(
            self._entry,
            self._executable,
            self._child,
            reason or problem or self._child.describe_exit(exit_code),
            repair or advice or self._command_by_hand(start_statement(self._entry)),
            tail,
        )

    def _probed(self) -> tuple[str, str]:
        """What is wrong with the interpreter, and what to try. Empty where nothing is, or nothing can be found out."""
        environment = environment_of(self._entry, self._executable)
        try:
            from gym_service_launcher.interpreters.diagnosis import diagnose  # only errors need it
            from gym_service_launcher.interpreters.evidence import repair_of
        except OSError as error:  # no descriptor is free to read them
            interrupts.raise_if_from_handler(error)
            return "", ""
        diagnosis = diagnose(self._executable, environment.variables, words=environment.words)
        return diagnosis.problem or "", repair_of(self._entry, diagnosis)

    def import_advice(self, *, is_missing: bool) -> str:
        if not is_missing:
            return self.import_command()
        gone = [str(path) for path in self._entry.pythonpath if not path.exists()]
        note = f" ({', '.join(gone)} does not exist)" if gone else ""
        if self._entry.builds_venv:
            return f"add its package to requires, or name its folder in pythonpath = […]{note}"
        return f"install it for {self._executable}, or name its folder in pythonpath = […]{note}"

    def import_command(self) -> str:
        return self._command_by_hand(import_statement(self._entry))

    def _command_by_hand(self, statement: str) -> str:
        importable = os.pathsep.join(map(str, self._entry.pythonpath))
        command = shlex.join([str(self._executable), "-c", statement])
        return _by_hand(self._entry, f"PYTHONPATH={shlex.quote(importable)} {command}" if importable else command)

    def died(self, during: str) -> ServerCrashed:
        """Blocks for DEATH_S at most, and for the last output."""
        exit_code = self._child.exit_code(DEATH_S)
        tail = self.tail()
        how = self._child.describe_exit(exit_code)
        text = f"the server of {self._entry.name!r} died during {during}: {how}"
        text += f"\n  interpreter: {self._executable}{self._fork_server_ending()}{output_block(tail)}"
        restarts = self._entry.restart == "on-reset"
        again = "reset(), which starts another" if restarts else "make the env again; this one is closed"
        more = "a higher memory limit, or fewer envs at once; then " if self._child.oom_kills(exit_code) else ""
        text += f"\n  try: {more}{again}"
        return ServerCrashed(text, during=during, exit_code=exit_code, tail=tail)

    def _fork_server_ending(self) -> str:
        return "" if self._fork_server is None or self._not_forked else self._fork_server.fork_server.ending()

    def diagnose(self, end_sending: Callable[[], None] = lambda: None) -> tuple[str, str]:
        """Blocks for half a second at most. The stream stays as it is."""
        return state_and_stack(self._child)

    def tail(self) -> str:
        # Where the stream is stdout, its opening holds what was printed there before the server moved it away.
        return "\n".join(filter(None, (self._opening.printed, self._child.tail())))

    @property
    def calls(self) -> memoryview:
        return self._child.calls

    def close_in_steps(self, ask_s: float) -> Iterator[None]:
        """Blocks for ``ask_s`` + TERMINATE_S + KILL_S seconds at most.

        The end of the last server of a fork server is the fork server's too. That takes two more seconds at most, none
        where the server had to be forced.
        """
        if self._end:
            self.take_stream().close()
        if self._memory:
            self._memory.close()
        yield from self._child.stop_in_steps(ask_s, TERMINATE_S if ask_s > 0 else 0.0)
        if self._fork_server:
            self._fork_server.release(ask_s if self._child.rung in ("ended by itself", "asked") else 0.0)


def _by_hand(entry: Entry, command: str) -> str:
    """A command for people, after what they would do first to activate the interpreter.

    It runs whatever the scripts return, as the server does.
    """
    name = entry.python.partition("conda:")[2] if entry.python else ""
    first = [shlex.join(["conda", "activate", name])] if name else []
    return "; ".join([*first, *(f". {shlex.quote(str(script))}" for script in entry.activate), command])


def state_and_stack(child: Child) -> tuple[str, str]:
    """What the main thread of a server does, and its Python stack; no stack if it is stopped."""
    state = child.classify_main_thread()
    return state, "" if state == "stopped" else child.python_stack()


def failed_start(entry: Entry, executable: Path, child: Child, reason: str, advice: str, tail: str) -> ServerStartError:
    """The error about a server that did not start. ``reason`` is one line; ``tail`` is the last of its output."""
    text = f"the server of {entry.name!r} did not start: {reason}"
    command = _by_hand(entry, shlex.join(activation.without_words(child.argv)))
    text += f"\n  interpreter: {executable}\n  command: {command}{output_block(tail)}"
    text += f"\n  try: {advice}"
    return ServerStartError(text, argv=child.argv, interpreter=str(executable), exit_code=child.exit_code(), tail=tail)


Started = tuple[Child, StreamEnd, Opening, socket.socket]


def started(entry: Entry, executable: Path, spawner: "AnyForkServer | None") -> Started:
    """The process, the client's end of its stream, how that opens, and the socket for shared memory. Raises OSError."""
    start = _over_stdio if entry.transport == "stdio" else _over_socket
    return start(entry, executable, spawner)


def _over_socket(entry: Entry, executable: Path, spawner: "AnyForkServer | None") -> Started:
    process_id = os.getpid()
    with _socketpairs(2) as ((sock, memory), theirs):
        channel = "--fd", str(FIRST_PASSED_FD), "--arena", str(FIRST_PASSED_FD + 1)
        child = _child(entry, executable, channel, [end.fileno() for end in theirs], spawner, process_id)
    return child, SocketEnd(sock), Opening(), memory


def _over_stdio(entry: Entry, executable: Path, spawner: "AnyForkServer | None") -> Started:
    mark, process_id = os.urandom(16), os.getpid()
    with _socketpairs(1) as ((memory,), theirs):
        channel = "--stdio", mark.hex(), "--arena", str(FIRST_PASSED_FD)
        child = _child(entry, executable, channel, [theirs[0].fileno()], spawner, process_id, piped=True)
    return child, PipeEnds(*child.take_pipes()), Opening(mark), memory


@contextlib.contextmanager
def _socketpairs(count: int) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """Our ends of some pairs, and theirs. Theirs are closed after the block; ours too where the block fails."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        pairs = []
        for _ in range(count):
            pairs.append(socket.socketpair())
            for sock in pairs[-1]:
                close_in_child(sock)
            ours.enter_context(pairs[-1][0])
            theirs.enter_context(pairs[-1][1])
        yield [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        ours.pop_all()


def _child(
    entry: Entry,
    executable: Path,
    channel: Sequence[str],
    pass_fds: Sequence[int],
    spawner: "AnyForkServer | None",
    process_id: int,
    *,
    piped: bool = False,
) -> Child:
    # A forked server has the environment of its fork server.
    environment = TargetEnvironment({}) if spawner else environment_of(entry, executable)
    return Child(
        [*environment.words, *server_argv(executable, *channel)],
        environment.variables if spawner is None else spawner.own_variables,
        entry.cwd,
        pass_fds=pass_fds,
        piped=piped,
        show=entry.output == "show",
        name=entry.name,
        executable=executable,
        spawner=spawner,
        record_option=VIEWERS_OPTION,
        process_id=process_id,
    )
