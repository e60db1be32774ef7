"""The fork servers of this process: each of them has imported a simulator, and forks servers.

Knows them as processes: what decides their content, and how many servers still need them. Never knows what a recipe
says, nor what the servers are for. Python 3.10 and up.
"""

import contextlib
import json
import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gym_service_launcher.processes import guardian_client
from gym_service_launcher.processes.child import Child
from gym_service_launcher.processes.forked_copies import close_in_child
from gym_service_launcher.processes.held_lock import while_held
from gym_service_launcher.standalone import guardian, interrupts

PROGRAM = Path(guardian.__file__).with_name("forkserver.py")
# How long a fork server that is not needed any more may take to end by itself: its simulator may act at exit.
LEAVE_S = 2.0
# How long its exit code may take to be known once its end was seen.
DEATH_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What decides the content of a fork server: two servers with equal plans can be forked from one."""

    command: tuple[str, ...]  # the interpreter and its options
    server_program: Path
    recipe: str
    env: tuple[tuple[str, str], ...]
    cwd: Path
    show: bool
    # How long it is kept after its last use, for other programs; None if it ends with this one. ``files`` are those
    # that decide its content before it imports anything.
    keep_warm_s: float | None = None
    files: tuple[Path, ...] = ()

    @property
    def executable(self) -> Path:
        """The interpreter. An activation script's shell may come before it in the command."""
        return Path(self.command[-2])


def plan(
    command: Sequence[str],
    server_program: Path,
    recipe: Mapping[str, Any],
    env: Mapping[str, str],
    cwd: Path | None,
    *,
    show: bool,
    keep_warm_s: float | None = None,
    files: Sequence[Path] = (),
) -> Plan:
    """The plan for a recipe, which is plain data. Raises OSError where the working directory was deleted."""
    text = json.dumps(recipe, sort_keys=True)
    variables = tuple(sorted(env.items()))
    return Plan(tuple(command), server_program, text, variables, cwd or Path.cwd(), show, keep_warm_s, tuple(files))


class AnyForkServer(guardian_client.ServerSpawner, Protocol):
    """What a ``ForkServer`` has, and a fork server that outlives this program (``servers/warm.py``)."""

    plan: Plan
    holders: set[object]
    problem: str | None
    is_unforkable: bool
    # Why it ends with this program although ``keep_warm_s`` asks for more; empty if it does not.
    not_kept: str
    # What a server gets that its fork server does not have.
    own_variables: dict[str, str]

    @property
    def pid(self) -> int:
        """For people to read."""

    @property
    def child(self) -> Child | None:
        """Its process, where it belongs to this program."""

    def wait(self, timeout_s: float) -> bool: ...

    def renew(self, error: OSError) -> bool:
        """Whether, after this error of a request, ``wait`` and another request may succeed."""

    def ending(self) -> str:
        """A line about its end or its state, for the error about a server that has died; empty if it lives."""

    def end(self, ask_s: float) -> None: ...

    def forget(self) -> None: ...


class ForkServer:
    """A process that imports once, and then forks. A ``ServerSpawner``: requests go to it as to the guardian."""

    def __init__(self, plan: Plan, name: str) -> None:
        """Start it. Raises OSError where it cannot be executed."""
        self.plan = plan
        self.holders: set[object] = set()
        self.not_kept = ""
        self.own_variables: dict[str, str] = {}
        # Why it forks nothing; empty where it forks, None before either is known.
        self.problem: str | None = None
        # Whether its content can never be forked, however often it is started.
        self.is_unforkable = False
        self._lock = threading.RLock()
        self._received = b""
        process_id = os.getpid()
        ours, theirs = socket.socketpair()
        close_in_child(ours)
        close_in_child(theirs)
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            argv = [*plan.command, str(PROGRAM), str(plan.server_program), plan.recipe]
            fds = [theirs.fileno()]
            self.child = Child(
                argv,
                dict(plan.env),
                plan.cwd,
                pass_fds=fds,
                show=plan.show,
                name=f"forkserver:{name}" if name else "",
                executable=plan.executable,
                process_id=process_id,
            )
            undo.pop_all()
        self._control = ours

    @property
    def record(self) -> Path | None:
        return self.child.record

    @property
    def pid(self) -> int:
        return self.child.pid

    def wait(self, timeout_s: float) -> bool:
        """Wait until ``problem`` tells whether it forks; False where it is not known within ``timeout_s`` seconds."""
        return while_held(self._lock, timeout_s, partial(self._wait, time.monotonic() + timeout_s))

    def _wait(self, deadline: float) -> bool:
        while self.problem is None and (remaining_s := deadline - time.monotonic()) > 0:
            self._receive(remaining_s)
        return self.problem is not None

    def _receive(self, timeout_s: float) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        # The end of the control socket is not enough: a process that the imports have forked may hold a copy of it.
        poll.register(self.child, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(min(timeout_s, guardian_client.LONGEST_WAIT_S) * 1000)]
        if self._control.fileno() in ready:
            data = self._control.recv(65536)
            self._received += data
            if b"\n" in self._received:
                word, _, self.problem = self._received.decode("utf-8", "replace").rstrip("\n").partition(" ")
                self.is_unforkable = word == "unforkable"
                self.child.mark_up()
                return
            if data:
                return
        if ready and (code := self.child.exit_code(guardian_client.ANSWER_S)) is not None:
            self.problem = f"the process that imported it ended: {self.child.describe_exit(code)}"

    def request(self, fds: Sequence[int], texts: bytes) -> None:
        with self._lock:
            guardian_client.send_request(self._control, fds, texts)

    def has_died(self) -> bool:
        poll = select.poll()
        try:
            poll.register(self._control, select.POLLIN)
        except ValueError as error:  # closed here
            interrupts.raise_if_from_handler(error)
            return True
        return bool(poll.poll(0))

    def is_stopped(self) -> bool:
        return self.child.classify_main_thread() == "stopped"

    def renew(self, error: OSError) -> bool:
        return False

    def ending(self) -> str:
        where = f"\n  its fork server, process {self.pid}, from which it was forked: "
        if self.has_died():
            return where + self.child.describe_exit(self.child.exit_code(DEATH_S))
        return where + "stopped" if self.is_stopped() else ""

    def end(self, ask_s: float) -> None:
        """End it, and its servers with it. Blocks for LEAVE_S at most. Any number of times."""
        self._control.close()
        self.child.stop(min(ask_s, LEAVE_S), 0.0)

    def forget(self) -> None:
        """In a forked child of this process: close the copy of what belongs to the parent."""
        self._control.close()


class ForkServerRef:
    """Keeps a fork server alive until ``release``, or until it is collected.

    The second is for interrupts: one may come before anything holds this object.
    """

    def __init__(self, fork_server: AnyForkServer) -> None:
        self.fork_server = fork_server
        self._process_id = os.getpid()
        self._holder = object()
        self._finalizer = weakref.finalize(self, _release, fork_server, self._holder, self._process_id, 0.0)
        self._finalizer.atexit = False  # the guardian ends it then
        with _changing:
            fork_server.holders.add(self._holder)

    def duplicate(self) -> "ForkServerRef":
        """Another reference to the same fork server."""
        return ForkServerRef(self.fork_server)

    def release(self, ask_s: float) -> None:
        """Release it, any number of times. The last reference ends the fork server: that blocks for LEAVE_S at most.

        In a forked child it does nothing: the fork server belongs to the parent.
        """
        _release(self.fork_server, self._holder, self._process_id, ask_s)
        self._finalizer.detach()


def _release(fork_server: AnyForkServer, holder: object, process_id: int, ask_s: float) -> None:
    if process_id != os.getpid():
        return
    with _changing:
        fork_server.holders.discard(holder)
    _end_unused(fork_server, ask_s)


def _end_unused(fork_server: AnyForkServer, ask_s: float) -> None:
    """End a fork server that has no holders, also one that was ended before: an interrupt may have come meanwhile."""
    with _changing:
        if fork_server.holders:
            return
        # One that is unforkable stays in the table: to find that out again would take an import each time.
        if _fork_servers.get(fork_server.plan) is fork_server and not fork_server.is_unforkable:
            del _fork_servers[fork_server.plan]
    fork_server.end(ask_s)


_fork_servers: dict[Plan, AnyForkServer] = {}
_changing = threading.RLock()


def acquire(plan: Plan, name: str, start: Callable[[Plan, str], AnyForkServer] = ForkServer) -> ForkServerRef:
    """A reference to the fork server of a plan. ``start`` starts it, with this name, if none runs. Raises OSError."""
    with _changing:
        try:
            fork_server = _fork_servers.get(plan)
            if fork_server is None or (fork_server.problem == "" and fork_server.has_died()):
                fork_server = _fork_servers[plan] = start(plan, name)
            return ForkServerRef(fork_server)
        except BaseException:
            if plan in _fork_servers:
                _end_unused(_fork_servers[plan], 0.0)
            raise


def _forget() -> None:
    """A forked child of this process starts fork servers of its own."""
    global _changing
    for fork_server in _fork_servers.values():
        fork_server.forget()
    _fork_servers.clear()
    _changing = threading.RLock()


os.register_at_fork(after_in_child=_forget)
