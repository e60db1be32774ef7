"""A server at the other end of a command (``ssh``, ``docker run``, ``srun``): its start, its end, and what was wrong.

Knows entries, what the interpreter is called over there, and what such commands and the far guardian say. Never knows
what travels over the link, nor whether anything exists over there: nothing of it is looked for on this machine. Python
3.10 and up.
"""

import os
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gym_service_launcher.config.entry import Entry, is_ssh
from gym_service_launcher.config.validation import SSH_URL
from gym_service_launcher.errors import ConnectionLost, GymServiceError, ServerCrashed, ServerStartError
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.processes.child import Child, ending
from gym_service_launcher.servers import source_bundle

DEFAULT_PYTHON = "python3"
# For a person none of these: nobody is there to type a password; nobody looks at a terminal; the first of several
# servers must not become the master of the others' connections, which would end with it; ports that this user always
# forwards are forwarded already. A lost host is noticed after 30 s, waiting or sending.
SSH = (
    *("ssh", "-T", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ClearAllForwardings=yes"),
    *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
)
# An interpreter by its name; any other path is taken for a venv's.
EXECUTABLE = re.compile(r"(python|pypy)[\d.]*t?(\.\w+)?|.+\.sh")

TERMINATE_S = 2.0
# How long a command whose link has ended may take to end itself: its exit code is part of the error.
DEATH_S = 3.0
# How long the far guardian may take to say what a silent server did: it waits, looks, and its words travel.
WORDS_S, LISTEN_S = 3.0, 0.05
SHOWN_TAIL_CHARS = 4000

SAID = re.compile(r"^gym-service: (.*?)\r?$", re.MULTILINE)
ENDED = re.compile(r"the server over there ended: (exit code|signal) (\d+)")
WHY = re.compile(r"the server was (\w+) when its link ended")
EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception|Exit)\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class Route:
    """How an interpreter elsewhere is reached: the command, what the interpreter is called there, and as its word."""

    command: tuple[str, ...]
    python: str
    word: str

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
        """What to type to see the interpreter over there start, or fail to."""
        return shlex.join([*self.command, self.word, "--version"])


def route_of(entry: Entry) -> Route:
    """The route to the interpreter of an entry that ``is_remote``."""
    command, python = entry.command, entry.python or DEFAULT_PYTHON
    if is_ssh(entry.python):
        match = SSH_URL.fullmatch(python)
        assert match, "it was checked when the entry was read"
        port = ("-p", match["port"]) if match["port"] else ()
        destination = match["destination"]
        if match["ipv6"]:  # only an address with a port has brackets
            destination = destination.replace(f"[{match['ipv6']}]", match["ipv6"])
        command = (*SSH, *port, "--", destination)
        python = match["path"] if match["path"].startswith("~") else f"/{match['path']}"
    python = _executable(python)
    # Of the words only this one may need quotes, and only where a shell reads it.
    is_for_shell = os.path.basename(command[0]) == "ssh"
    return Route(command, python, _quoted(python) if is_for_shell else python)


def _executable(python: str) -> str:
    if discovery.VERSION.fullmatch(python):
        return discovery.command(python)
    folder = python.rstrip("/")
    if "/" not in python or EXECUTABLE.fullmatch(folder.rpartition("/")[2]):
        return folder
    return f"{folder}/bin/python"


def _quoted(path: str) -> str:
    """For a shell, which still finds the home that ``~`` is."""
    home, slash, rest = path.partition("/") if path.startswith("~") else ("", "", path)
    return f"{home}{slash}{shlex.quote(rest)}" if rest else home


def launch(entry: Entry) -> "CommandServer":
    """Run the command of an entry. Does not wait for the server: it answers once it is up.

    Raises:
        ServerStartError: the command cannot be executed.
    """
    route = route_of(entry)
    mark = secrets.token_bytes(16)
    try:
        child = Child(
            [_found(route.command[0], entry.folder), *route.argv[1:]],
            # The command's own, such as SSH_AUTH_SOCK and DOCKER_HOST. What the simulator gets is in the parcel.
            os.environ,
            piped=True,
            show=entry.output == "show",
            name=entry.name,
        )
    except OSError as error:
        text = f"the server of {entry.name!r} did not start: {route.command[0]}: {error.strerror or error}"
        text += f"\n  command: {shlex.join(route.argv)}\n  try: {route.by_hand}"
        raise ServerStartError(text, argv=route.argv, interpreter=route.python, exit_code=None, tail="") from error
    packed = source_bundle.make_bundle(
        python=route.python,
        environ=entry.environ,
        pythonpath=[str(folder) for folder in entry.pythonpath],
        cwd=str(entry.cwd or ""),
        mark=mark,
        close_s=entry.timeouts.close,
    )
    return CommandServer(entry, route, child, child.take_pipes(), mark, packed)


def _found(program: str, folder: Path) -> str:
    """The path of a command of this machine. Raises OSError."""
    path = os.path.join(folder, os.path.expanduser(program)) if "/" in program else shutil.which(program)
    if path is None:
        raise FileNotFoundError("there is no such command in the folders of PATH on this machine")
    return path


@dataclass
class CommandServer:
    """A server at the other end of a command: what ``supervisor.Link`` is for one on this machine.

    ``parcel`` is sent ahead of everything; ``noise`` takes what the command says on its standard output before the
    ``mark``. ``end_sending`` closes the way there and leaves the way back open; whoever has the pipes sets it.
    """

    entry: Entry
    route: Route
    child: Child
    pipes: tuple[int, int]
    mark: bytes
    bundle: bytes
    sock: None = None
    arena_sock: None = None  # no memory is shared with another machine
    is_secured: bool = False
    same_host: None = None
    noise: bytearray = field(default_factory=bytearray)
    end_sending: Callable[[], None] = lambda: None
    hold: None = None  # nothing is forked over there
    warning: str = ""
    begun: float = field(default_factory=time.monotonic)

    @property
    def executable(self) -> str:
        """The interpreter, as it is called over there."""
        return self.route.python

    def died(self, during: str) -> GymServiceError:
        """The error for a link that ended during a call. Blocks for at most DEATH_S and the last words."""
        exit_code = self.child.exit_code(DEATH_S)
        tail = self.tail()
        ended = _ended(tail)
        where = f"\n  command: {shlex.join(self.route.argv)}{_shown(tail)}"
        again = "reset(), which starts another" if self.entry.restart == "on-reset" else "make the env anew"
        if ended is not None:
            text = f"the server of {self.entry.name!r} died during {during}: {ending(ended)}{where}\n  try: {again}"
            return ServerCrashed(text, during=during, exit_code=ended, tail=tail)
        text = f"the link to the server of {self.entry.name!r} ended during {during}: "
        text += f"{self.route.command[0]}: {ending(exit_code)}{where}"
        text += f"\n  try: {again}, once this works: {self.route.by_hand}"
        return ConnectionLost(text, during=during, address=shlex.join(self.route.command), tail=tail)

    def failed_to_start(
        self, reason: str, advice: str = "", *, in_time: bool = True, tail: str | None = None
    ) -> ServerStartError:
        """The error for a server that did not come up; ``in_time`` changes nothing here, where nothing is probed."""
        exit_code = self.child.exit_code(DEATH_S if not reason else 0.0)
        tail = self.tail() if tail is None else tail
        if not reason:
            reason, advice = self._judged(tail, exit_code)
        text = f"the server of {self.entry.name!r} did not start: {reason}"
        text += (
            f"\n  interpreter: {self.route.python} over there\n  command: {shlex.join(self.route.argv)}{_shown(tail)}"
        )
        text += f"\n  try: {advice or self.route.by_hand}"
        ended = _ended(tail)
        return ServerStartError(
            text,
            argv=self.route.argv,
            interpreter=self.route.python,
            exit_code=exit_code if ended is None else ended,
            tail=tail,
        )

    def _judged(self, tail: str, exit_code: int | None) -> tuple[str, str]:
        """What was wrong, by the evidence, and what to try."""
        python = self.route.python
        if "Unknown option: -I" in tail or "unrecognized arguments: -q" in tail:
            return f"{python} over there is too old: the floor is Python 3.6", "a newer Python for this simulator"
        if "now exiting InteractiveConsole" in tail:
            reason = "the interpreter over there was given no standard input"
            return reason, "the option that passes it on: -i of docker run, docker exec and kubectl exec"
        if refused := [line for line in SAID.findall(tail) if not ENDED.match(line)]:
            advice = "leave out the option that asks for one: -t of ssh and docker run, --pty of srun"
            return refused[-1], advice if "is a terminal" in refused[-1] else ""
        ended = _ended(tail)
        if ended is not None:
            raised = EXCEPTION.findall(tail)
            missing = "'numpy'" in raised[-1] if raised else False
            advice = f"{python} -m pip install numpy, over there" if missing else ""
            return (raised[-1] if ended == 1 and raised else ending(ended)), advice
        lines = tail.strip().splitlines()
        reason = f"{self.route.command[0]}: {ending(exit_code)}" + (f": {lines[-1].strip()}" if lines else "")
        return reason, self._advice(tail, exit_code)

    def _advice(self, tail: str, exit_code: int | None) -> str:
        """By what ssh, shells and containers say of themselves."""
        if exit_code in (126, 127):
            return f'python = "…", the full path of one over there; {self.route.python} is none'
        if "Host key verification failed" in tail:
            return f"once by hand, to see the host's key and accept it: {self.route.by_hand}"
        if "Permission denied (" in tail:
            return f"a key that needs no typing (ssh-add, IdentityFile), until this works: {self.route.by_hand}"
        return ""

    def close(self, ask_s: float) -> None:
        """See the command to its end; its channel must be closed already, which ends the server over there.

        Blocks for at most ``ask_s`` + TERMINATE_S seconds. SIGTERM comes before SIGKILL also where nobody is asked:
        some commands pass it on.
        """
        self.child.stop(ask_s, TERMINATE_S)

    def tail(self) -> str:
        """What the command said before the server began, and the end of what came on its stderr."""
        noise = bytes(self.noise).decode("utf-8", "backslashreplace").replace(">>> ", "")
        return "\n".join(filter(str.strip, (noise, self.child.tail())))

    def diagnose(self) -> tuple[str, str]:
        """Why the server says nothing, in a word, and its Python stack; only for one that is to be stopped.

        The end of the link is what the far guardian is asked by. Blocks for at most WORDS_S.
        """
        before = self.child.output_bytes
        self.end_sending()
        deadline = time.monotonic() + WORDS_S
        while self.child.exit_code(LISTEN_S) is None and time.monotonic() < deadline:
            pass
        said = self.child.output_since(before)
        found = WHY.search(said)
        if found is None:
            return "unknown", ""
        return found[1], SAID.split(said[found.end() :])[0].strip()

    @property
    def calls(self) -> memoryview:
        """Where to count the calls."""
        return self.child.calls


def _ended(tail: str) -> int | None:
    """How the server over there ended, by the far guardian's last word; None where it said none."""
    found = ENDED.findall(tail)
    return None if not found else int(found[-1][1]) * (-1 if found[-1][0] == "signal" else 1)


def _shown(tail: str) -> str:
    if not tail.strip():
        return "\n  output: none"
    return "\n  the end of its output:\n" + "\n".join(f"    {line}" for line in tail[-SHOWN_TAIL_CHARS:].splitlines())
