"""CommandServer: a server at the other end of a command (``ssh``, ``docker run``, ``srun``), and why it failed.

Knows entries, the name of the interpreter on the remote side, and the texts that such commands and the remote guardian
print. Never knows what travels over the link. It looks for no file of the remote side on this machine. Python 3.10 and
up.
"""

import os
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gym_service_launcher.config.addresses import SSH_URL
from gym_service_launcher.config.entry import Entry, is_ssh
from gym_service_launcher.errors import ConnectionLost, GymServiceError, ServerCrashed, ServerStartError
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.processes.child import Child, ending
from gym_service_launcher.processes.forked_copies import refuse_child
from gym_service_launcher.servers import source_bundle
from gym_service_launcher.servers.link import ServerLink, import_statement, limit_advice, output_block
from gym_service_launcher.servers.stream import Opening, PipeEnds
from gym_service_launcher.standalone import interrupts, remote_guardian

DEFAULT_PYTHON = "python3"
# The options, in order: no terminal; no questions, since no person can answer them; the first of several servers must
# not become the master of the others' connections, which would end with it; no port forwarding from the user's
# configuration, since those ports may be taken already. A lost host is noticed after 30 s.
SSH = (
    *("ssh", "-T", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ClearAllForwardings=yes"),
    *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
)
# The file name of an interpreter. A path that ends otherwise is the folder of a venv.
EXECUTABLE = re.compile(r"(python|pypy)[\d.]*t?(\.\w+)?|.+\.sh")

TERMINATE_S = 2.0
# The words of shells, ssh and containers for a command that cannot run.
FAILURE = re.compile(
    r"[Nn]o such file|not found|cannot execute|[Pp]ermission denied|verification failed|[Cc]ould not resolve"
    r"|[Cc]onnection (?:refused|timed out|closed|reset)|[Nn]o route to host|[Nn]o such (?:container|image)|[Ee]rror"
)
# How long a command may take to end after its link has ended: its exit code is part of the error.
DEATH_S = 3.0
# How long the remote guardian may take for its diagnosis, and how often this process looks for it (seconds).
DIAGNOSIS_S, DIAGNOSIS_POLL_S = 3.0, 0.05

NO_TERMINAL = "leave out the option that asks for one: -t of ssh and docker run, --pty of srun"
# The lines of the remote guardian.
SAID = re.compile(r"^gym-service: (.*?)\r?$", re.MULTILINE)
ENDED = re.compile(remote_guardian.ENDED_LINE % ("(exit code|signal)", r"(\d+)"))
STATE = re.compile(remote_guardian.STATE_LINE % r"(\w+)")
EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception|Exit)\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class Route:
    """How an interpreter on the remote side is reached.

    ``command`` runs a program there, ``python`` is the name of the interpreter there, and ``word`` is that name as
    ``command`` must be given it.
    """

    command: tuple[str, ...]
    python: str
    word: str
    is_for_shell: bool = False  # whether a shell reads what follows the command

    @property
    def argv(self) -> tuple[str, ...]:
        """All that is run on this machine."""
        return (*self.command, self.word, *source_bundle.WORDS)

    @property
    def place(self) -> str:
        """Command and interpreter, for people."""
        return shlex.join([*self.command, self.word])

    @property
    def by_hand(self) -> str:
        """A command for people that starts the interpreter and nothing else."""
        return self.run_by_hand("--version")

    def run_by_hand(self, *words: str) -> str:
        """A command for people that runs the interpreter with these words."""
        if self.is_for_shell:
            words = tuple(map(shlex.quote, words))
        return shlex.join([*self.command, self.word, *words])


def route_of(entry: Entry) -> Route:
    """The route to the interpreter of an entry. Its ``is_remote`` must be true."""
    command, python = entry.command, entry.python or DEFAULT_PYTHON
    if is_ssh(entry.python):
        match = SSH_URL.fullmatch(python)
        assert match, "the entry was checked when it was read"
        port = ("-p", match["port"]) if match["port"] else ()
        destination = match["destination"]
        if match["ipv6"]:  # only an address with a port has brackets
            destination = destination.replace(f"[{match['ipv6']}]", match["ipv6"])
        command = (*SSH, *port, "--", destination)
        python = match["path"] if match["path"].startswith("~") else f"/{match['path']}"
    python = _executable(python)
    # This is the only word that may need quotes, and it needs them only where a shell reads it.
    is_for_shell = os.path.basename(command[0]) == "ssh"
    return Route(command, python, _quoted(python) if is_for_shell else python, is_for_shell)


def _executable(python: str) -> str:
    if discovery.VERSION.fullmatch(python):
        return discovery.command(python)
    folder = python.rstrip("/")
    if "/" not in python or EXECUTABLE.fullmatch(folder.rpartition("/")[2]):
        return folder
    return f"{folder}/bin/python"


def _quoted(path: str) -> str:
    """Quoted for a shell, which still expands a leading ``~``."""
    home, slash, rest = path.partition("/") if path.startswith("~") else ("", "", path)
    return f"{home}{slash}{shlex.quote(rest)}" if rest else home


def start(entry: Entry, venv: Mapping[str, Any] | None = None, *, serve: bool = True) -> "CommandServer":
    """Run the command of an entry. Does not wait until the server is up.

    Args:
        entry: its ``is_remote`` must be true.
        venv: an order for a venv, which the remote side builds first (``venv_builder.py``).
        serve: whether a server follows the venv.

    Raises:
        ServerStartError: the command cannot be executed.
    """
    started_at, process_id = time.monotonic(), os.getpid()
    route = route_of(entry)
    mark = secrets.token_bytes(16)
    try:
        child = Child(
            [_found(route.command[0], entry.folder), *route.argv[1:]],
            # For the command itself, such as SSH_AUTH_SOCK and DOCKER_HOST. The simulator's are in the bundle.
            os.environ,
            piped=True,
            show=entry.output == "show",
            name=entry.name if serve else "",
        )
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        text = f"the server of {entry.name!r} did not start: {route.command[0]}: {error.strerror or error}"
        text += f"\n  command: {shlex.join(route.argv)}\n  try: {limit_advice(error) or route.by_hand}"
        raise ServerStartError(text, argv=route.argv, interpreter=route.python, exit_code=None, tail="") from error
    end = PipeEnds(*child.take_pipes())
    refuse_child(process_id)
    bundle = source_bundle.make_bundle(
        python=route.python,
        environ=entry.environ,
        activate=[str(script) for script in entry.activate],
        pythonpath=[str(folder) for folder in entry.pythonpath],
        cwd=str(entry.cwd or ""),
        mark=mark,
        close_s=entry.timeouts.close,
        venv=venv,
        serve=serve,
    )
    return CommandServer(entry, route, child, end, Opening(mark), bundle, started_at=started_at)


def _found(program: str, folder: Path) -> str:
    """The path of a command of this machine. Raises OSError."""
    path = os.path.join(folder, os.path.expanduser(program)) if "/" in program else shutil.which(program)
    if path is None:
        raise FileNotFoundError("no folder of PATH on this machine has such a command")
    return path


class CommandServer(ServerLink):
    """A server at the other end of a command. The command is a child of this process; the server is not."""

    def __init__(
        self,
        entry: Entry,
        route: Route,
        child: Child,
        end: PipeEnds,
        opening: Opening,
        bundle: bytes,
        *,
        started_at: float,
    ) -> None:
        """Own the child and the pipes from here on. ``bundle`` is sent first."""
        self.started_at = started_at
        self.end = end
        self.opening = opening
        self.unsent = memoryview(bundle)
        self._entry = entry
        self._route = route
        self._child = child

    @property
    def place(self) -> str:
        return self._route.place

    def begin(self, deadline: float) -> bool:
        try:
            self.unsent = self.opening.send(self.end, self.unsent, deadline)
        except EOFError as error:
            self.end.close()  # a command that has closed its end only waits for this one
            raise self.start_error() from error
        return not self.unsent

    def wait_until_up(self, deadline: float) -> bool:
        try:
            return self.opening.wait(self.end, deadline)
        except EOFError as error:
            self.end.close()  # a command that has closed its end only waits for this one
            raise self.start_error() from error

    def take_stream(self) -> PipeEnds:
        return PipeEnds(*self.end.detach())

    def venv_is_ready(self, python: str) -> None:
        """Go on with the start, once a venv was built over the stream: its time begins here, since a build has none."""
        self.started_at = time.monotonic()
        self._route = replace(self._route, python=python)

    def env_is_made(self) -> None:
        self._child.mark_up()

    def accept_memory(self) -> None:
        """Always None: no memory is shared with another machine."""

    def start_error(
        self, reason: str = "", advice: str = "", *, probe: bool = True, tail: str | None = None
    ) -> ServerStartError:
        """Nothing is probed on the remote side; the reason is in the output. Blocks for DEATH_S at most."""
        exit_code = self._child.exit_code(0.0 if reason else DEATH_S)
        tail = self.tail() if tail is None else tail
        if not reason:
            reason, advice = self._judged(tail, exit_code)
        python = self._route.python
        text = f"the server of {self._entry.name!r} did not start: {reason}\n  interpreter: {python} on the remote side"
        text += f"\n  command: {shlex.join(self._route.argv)}{output_block(tail)}"
        text += f"\n  try: {advice or self._route.by_hand}"
        ended = _ended(tail)
        code = exit_code if ended is None else ended
        return ServerStartError(text, argv=self._route.argv, interpreter=python, exit_code=code, tail=tail)

    def import_advice(self, *, is_missing: bool) -> str:
        python = self._route.python
        return f"install it for {python} on the remote side, or name its folder there in pythonpath = […]"

    def import_command(self) -> str:
        return self._route.run_by_hand("-c", import_statement(self._entry))

    def died(self, during: str) -> GymServiceError:
        """Blocks for DEATH_S at most, and for the last output."""
        exit_code = self._child.exit_code(DEATH_S)
        tail = self.tail()
        ended = _ended(tail)
        where = f"\n  command: {shlex.join(self._route.argv)}{output_block(tail)}"
        again = "reset(), which starts another" if self._entry.restart == "on-reset" else "make the env again"
        if ended is not None:
            text = f"the server of {self._entry.name!r} died during {during}: {ending(ended)}{where}\n  try: {again}"
            return ServerCrashed(text, during=during, exit_code=ended, tail=tail)
        text = f"the link to the server of {self._entry.name!r} ended during {during}: "
        text += f"{self._route.command[0]}: {ending(exit_code)}{where}"
        text += f"\n  try: {again}, once this works: {self._route.by_hand}"
        return ConnectionLost(text, during=during, address=shlex.join(self._route.command), tail=tail)

    def diagnose(self, end_sending: Callable[[], None] = lambda: None) -> tuple[str, str]:
        """Ask the remote guardian, which answers the end of the link. Blocks for DIAGNOSIS_S at most."""
        before = self._child.output_bytes
        self.end.end_sending()  # where the stream was not taken yet
        end_sending()
        deadline = time.monotonic() + DIAGNOSIS_S
        while self._child.exit_code(DIAGNOSIS_POLL_S) is None and time.monotonic() < deadline:
            pass
        said = self._child.output_since(before)
        found = STATE.search(said)
        if found is None:
            return "unknown", ""
        return found[1], SAID.split(said[found.end() :])[0].strip()

    def tail(self) -> str:
        """What the command printed on stdout before the server began, and the end of its stderr."""
        printed = self.opening.printed.replace(">>> ", "")  # the prompts of the interpreter that reads the bundle
        return "\n".join(filter(str.strip, (printed, self._child.tail())))

    @property
    def calls(self) -> memoryview:
        return self._child.calls

    def close_in_steps(self, ask_s: float) -> Iterator[None]:
        """Blocks for ``ask_s`` + TERMINATE_S + KILL_S at most. The end of the link ends the server on the remote side.

        SIGTERM comes before SIGKILL also where ``ask_s`` is 0: some commands pass it on.
        """
        self.end.close()
        yield from self._child.stop_in_steps(ask_s, TERMINATE_S)

    def _judged(self, tail: str, exit_code: int | None) -> tuple[str, str]:
        """The reason that the output shows, and what the user can try."""
        python = self._route.python
        if "Unknown option: -I" in tail or "unrecognized arguments: -q" in tail:
            return f"{python} on the remote side is older than Python 3.6", "a newer Python for this simulator"
        if "now exiting InteractiveConsole" in tail:
            reason = "the interpreter on the remote side was given no standard input"
            return reason, "the option that passes it on: -i of docker run, docker exec and kubectl exec"
        if source_bundle.BOOTSTRAP[:80] in tail:  # only a terminal sends back what it is sent
            return source_bundle.IS_A_TERMINAL, NO_TERMINAL
        if refused := [line for line in SAID.findall(tail) if not ENDED.match(line)]:
            from gym_service_launcher.interpreters.diagnosis import activation_advice  # loaded only for an error

            return refused[-1], NO_TERMINAL if "is a terminal" in refused[-1] else activation_advice(refused[-1])
        ended = _ended(tail)
        if ended is not None:
            raised = EXCEPTION.findall(tail)
            missing = "'numpy'" in raised[-1] if raised else False
            advice = f"{python} -m pip install numpy, on the remote side" if missing else ""
            return (raised[-1] if ended == 1 and raised else ending(ended)), advice
        lines = tail.strip().splitlines()
        # A banner or a farewell of the shell may stand after the line that says what failed.
        said = [line for line in lines if FAILURE.search(line)] or lines
        reason = f"{self._route.command[0]}: {ending(exit_code)}" + (f": {said[-1].strip()}" if said else "")
        return reason, self._advice(tail, exit_code)

    def _advice(self, tail: str, exit_code: int | None) -> str:
        """What the user can try, by the texts of ssh, of shells and of containers."""
        if exit_code in (126, 127):
            return f'python = "…", the full path of an interpreter there; {self._route.python} does not run'
        if "Host key verification failed" in tail:
            return f"once by hand, to see the host's key and accept it: {self._route.by_hand}"
        if "Permission denied (" in tail:
            return f"a key that needs no typing (ssh-add, IdentityFile), until this works: {self._route.by_hand}"
        return ""


def _ended(tail: str) -> int | None:
    """The exit code of the server on the remote side, by the last line of its guardian; None without one."""
    found = ENDED.findall(tail)
    return None if not found else int(found[-1][1]) * (-1 if found[-1][0] == "signal" else 1)
