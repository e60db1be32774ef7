"""From an entry to a running server and the bytes that lead to it; and from a dead one to the reason.

Knows entries, interpreters, children. Never knows what travels over the bytes. Python 3.10 and up.
"""

import contextlib
import os
import secrets
import shlex
import socket
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError, ServerCrashed, ServerStartError
from gym_service_launcher.interpreters.diagnosis import Diagnosis, diagnose
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.processes import forkservers
from gym_service_launcher.processes.child import FIRST_PASSED_FD, Child, ending
from gym_service_launcher.processes.forkservers import ForkServer, ForkServerRef
from gym_service_launcher.servers import over_command
from gym_service_launcher.servers.over_command import CommandServer
from gym_service_launcher.servers.program import refuse_windows, server_argv, server_program
from gym_service_launcher.standalone import env_vars

TERMINATE_S = 2.0
# How long a server whose channel has ended may take to be dead: its exit code is part of the error.
DEATH_S = 1.0
SHOWN_TAIL_CHARS = 4000


@dataclass(frozen=True)
class LocalServer:
    """A server that was started on this machine: its end of the bytes, and its process.

    Either ``sock`` is set, or ``pipes`` (read, write) with the ``mark`` after which the server's bytes begin.
    ``arena_sock`` is for handing memory over, where both sides are on one machine. ``hold`` is on the nursery that
    it was to be forked from, and ``begun`` when its time to start began, by the monotonic clock.
    """

    entry: Entry
    executable: Path
    child: Child
    sock: socket.socket | None = None
    pipes: tuple[int, int] | None = None
    mark: bytes = b""
    arena_sock: socket.socket | None = None
    is_secured: bool = False
    same_host: None = None
    hold: ForkServerRef | None = None
    begun: float = field(default_factory=time.monotonic)

    def died(self, during: str) -> ServerCrashed:
        """The error for a server whose channel ended during a call. Blocks for at most DEATH_S and its last words."""
        exit_code = self.child.exit_code(DEATH_S)
        tail = self.child.tail()
        text = f"the server of {self.entry.name!r} died during {during}: {ending(exit_code)}"
        text += f"\n  interpreter: {self.executable}{self._fork_server_ending()}{_shown(tail)}"
        again = self.entry.restart == "on-reset"
        text += f"\n  try: {'reset(), which starts another' if again else 'make the env anew; this one stays closed'}"
        return ServerCrashed(text, during=during, exit_code=exit_code, tail=tail)

    def _fork_server_ending(self) -> str:
        if self.hold is None or self.hold.fork_server.problem or not self.hold.fork_server.has_died():
            return ""
        child = self.hold.fork_server.child
        return f"\n  its fork server, process {child.pid}, from which it was forked: {ending(child.exit_code(DEATH_S))}"

    @property
    def warning(self) -> str:
        """What its user is to be warned of, once it is up; empty if nothing."""
        if self.hold is None or not self.hold.fork_server.problem:
            return ""
        return f"{self.entry.name!r} was started without prefork: {self.hold.fork_server.problem}"

    def failed_to_start(
        self, reason: str, advice: str = "", *, in_time: bool = True, tail: str | None = None
    ) -> ServerStartError:
        """The error for a server that did not come up; ``tail``, where it was kept before the server was made to speak.

        Probes the target for what is wrong, which takes a moment; not one that was not up ``in_time``: its time is
        over, and what was slow or hung would be so again.
        """
        exit_code = self.child.exit_code(DEATH_S if not reason else 0.0)
        tail = self.child.tail() if tail is None else tail
        report = Diagnosis(self.executable)
        if in_time:
            report = diagnose(self.executable, environment(self.entry, self.executable))
        reason = reason or (ending(exit_code) if report.problem is None else report.problem)
        text = f"the server of {self.entry.name!r} did not start: {reason}"
        text += f"\n  interpreter: {self.executable}\n  command: {shlex.join(self.child.argv)}{_shown(tail)}"
        text += f"\n  try: {report.advice or advice or self.by_hand()}"
        argv, python = self.child.argv, str(self.executable)
        return ServerStartError(text, argv=argv, interpreter=python, exit_code=exit_code, tail=tail)

    def by_hand(self) -> str:
        """What to type to see the simulator load, or fail to, without a server around it."""
        importable = os.pathsep.join(map(str, self.entry.pythonpath))
        modules = ", ".join(self.entry.imports) or self.entry.api or "gymnasium"
        command = shlex.join([str(self.executable), "-c", f"import {modules}"])
        return f"PYTHONPATH={shlex.quote(importable)} {command}" if importable else command

    def close(self, ask_s: float) -> None:
        """See the process to its end; its channel must be closed already.

        Blocks for at most ``ask_s`` + TERMINATE_S seconds, and two more for the nursery of the last that was forked
        from it; with 0 it is killed at once.
        """
        self.child.stop(ask_s, TERMINATE_S if ask_s > 0 else 0.0)
        if self.hold:
            self.hold.release(ask_s)

    def tail(self) -> str:
        """The end of what the server printed."""
        return self.child.tail()

    def diagnose(self) -> tuple[str, str]:
        """Why the server says nothing, in a word, and its Python stack; only for one that is to be stopped."""
        word = self.child.classify_main_thread()
        return word, "" if word == "stopped" else self.child.python_stack()

    @property
    def calls(self) -> memoryview:
        """Where to count the calls."""
        return self.child.calls


LATE_ADVICE = "a longer one, timeouts = { start = … }, if it was still at work"


def lateness(entry: Entry, state: str, stack: str) -> str:
    """The reason of a start that was not done in time: how the server was silent, and its Python stack."""
    where = f"; its Python code was here:\n{textwrap.indent(stack, '    ')}" if stack else ""
    return f"it was not up after {entry.timeouts.start:g} s ({state}){where}"


def _shown(tail: str) -> str:
    if not tail.strip():
        return "\n  output: none"
    return "\n  the end of its output:\n" + "\n".join(f"    {line}" for line in tail[-SHOWN_TAIL_CHARS:].splitlines())


def launch(entry: Entry, progress: Callable[[str], None]) -> LocalServer | CommandServer:
    """Start the server of an entry. Does not wait for it: it answers once it is up.

    Blocks while the interpreter is looked for, and for as long as a venv of ``requires`` takes to build.

    Raises:
        ConfigError: the working directory is not there, or (as InterpreterNotFound) the interpreter.
        ServerStartError: it cannot be executed, the venv cannot be built, or its fork server took too long to import.
    """
    refuse_windows()
    if entry.is_remote:
        return over_command.launch(entry)
    if entry.cwd is not None and not entry.cwd.is_dir():
        text = (
            f"the working directory of {entry.name!r} is no folder: {entry.cwd}\n  try: another cwd, or none for yours"
        )
        raise ConfigError(text, file=None, key="cwd")
    executable = _named_executable_of(entry, progress)
    start = _over_stdio if entry.transport == "stdio" else _over_socket
    try:
        if entry.prefork:
            return _forked(entry, executable, start)
        return start(entry, executable)
    except OSError as error:
        argv = (str(executable),)
        text = f"the server of {entry.name!r} did not start: {error}\n  interpreter: {executable}"
        text += f"\n  try: {executable} --version"
        raise ServerStartError(text, argv=argv, interpreter=argv[0], exit_code=None, tail="") from error


def _named_executable_of(entry: Entry, progress: Callable[[str], None]) -> Path:
    """As ``executable_of``; its errors say which entry they are about."""
    try:
        return executable_of(entry, progress)
    except ConfigError as error:
        where = f'{entry.file}: envs."{entry.name}"' if entry.file else f'given in Python for "{entry.name}"'
        key = f'envs."{entry.name}".{error.key or "python"}'
        raise type(error)(f"{where}: {error}", file=str(entry.file) if entry.file else None, key=key) from error


def executable_of(entry: Entry, progress: Callable[[str], None]) -> Path:
    """The interpreter of an entry, its venv built from ``requires`` where there is one. Raises ConfigError."""
    assert entry.python, "an entry has an interpreter or an address"
    if entry.requires is None:
        return find_interpreter(entry.python, entry.folder)
    from gym_service_launcher.interpreters.venvs import provision  # only who builds pays for it

    return provision(entry.python, entry.requires, entry.folder, progress)


def environment(entry: Entry, executable: Path) -> dict[str, str]:
    """The environment variables that the entry's server runs with."""
    return env_vars.environment(executable, entry.environ, entry.pythonpath)


def _forked(entry: Entry, executable: Path, start: Callable[..., LocalServer]) -> LocalServer:
    """Have a server forked from the entry's nursery; where that cannot be, it is started as any other."""
    begun = time.monotonic()
    hold = forkservers.hold(_plan(entry, executable), entry.name)
    try:
        fork_server = hold.fork_server
        if not fork_server.wait(entry.timeouts.start):
            link = LocalServer(entry, executable, fork_server.child)
            reason = lateness(entry, *link.diagnose())
            link.close(0.0)
            raise link.failed_to_start(reason, LATE_ADVICE, in_time=False)
        return replace(start(entry, executable, None if fork_server.problem else fork_server), hold=hold, begun=begun)
    except BaseException:
        hold.release(0.0)
        raise


def _plan(entry: Entry, executable: Path) -> forkservers.Plan:
    recipe = {
        "id": entry.id,
        "imports": entry.imports,
        "entry_point": entry.entry_point,
        "api": entry.api,
        # A callable that was handed over is loaded where it is called.
        "wrappers": [wrapper for wrapper in entry.wrappers if isinstance(wrapper, str)],
    }
    command, variables = [str(executable), "-u"], environment(entry, executable)
    return forkservers.plan(command, server_program(), recipe, variables, entry.cwd, show=entry.output == "show")


def _over_socket(entry: Entry, executable: Path, fork_server: ForkServer | None = None) -> LocalServer:
    with _socketpairs(2) as (ours, theirs):
        channel = "--fd", str(FIRST_PASSED_FD), "--arena", str(FIRST_PASSED_FD + 1)
        child = _child(entry, executable, channel, [sock.fileno() for sock in theirs], fork_server)
    return LocalServer(entry, executable, child, sock=ours[0], arena_sock=ours[1])


def _over_stdio(entry: Entry, executable: Path, fork_server: ForkServer | None = None) -> LocalServer:
    mark = secrets.token_bytes(16)
    with _socketpairs(1) as (ours, theirs):
        channel = "--stdio", mark.hex(), "--arena", str(FIRST_PASSED_FD)
        child = _child(entry, executable, channel, [theirs[0].fileno()], fork_server, piped=True)
    return LocalServer(entry, executable, child, pipes=child.take_pipes(), mark=mark, arena_sock=ours[0])


@contextlib.contextmanager
def _socketpairs(count: int) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """Both ends of so many pairs. Theirs are closed after the block, and ours too where it fails."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        pairs = []
        for _ in range(count):
            pairs.append(socket.socketpair())
            ours.enter_context(pairs[-1][0])
            theirs.enter_context(pairs[-1][1])
        yield [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        ours.pop_all()


def _child(
    entry: Entry,
    executable: Path,
    channel: Sequence[str],
    pass_fds: Sequence[int],
    fork_server: ForkServer | None,
    *,
    piped: bool = False,
) -> Child:
    return Child(
        server_argv(executable, *channel),
        {} if fork_server else environment(entry, executable),  # what is forked has its fork server's
        entry.cwd,
        pass_fds=pass_fds,
        piped=piped,
        show=entry.output == "show",
        name=entry.name,
        spawner=fork_server,
    )


def to_stderr(line: str) -> None:
    """The plainest way to show progress."""
    print(line, file=sys.stderr, flush=True)
