"""An OSError that a signal handler raises, such as a TimeoutError, where the launcher ignores or explains OSErrors.

It must come out unchanged. Three tests: the rule that recognises it, with real signals; every line of the launcher's
functions that ignore errors; and the source, so that a new ``except`` cannot forget the rule.
"""

import ast
import builtins
import errno
import gc
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from gym_service_launcher import user_dirs
from gym_service_launcher.net import unix
from gym_service_launcher.net.same_host import LoopbackRendezvous
from gym_service_launcher.processes import output_writer, pidfiles
from gym_service_launcher.servers import warm_key
from gym_service_launcher.servers.stream import Opening, PipeEnds, SocketEnd
from gym_service_launcher.standalone import client_watch, interrupts, venv_builder
from support import procfs
from support.interrupts import Tally, caught, interrupt_at_each

from gym_service.protocol.interrupts import is_from_handler

LAUNCHER = Path(interrupts.__file__).parents[1]


class Expired(TimeoutError):
    """The exception of a handler that derives its own."""


def with_arguments(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("expired")


def with_errno(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def with_any_arguments(*given: Any) -> None:
    raise Expired


def without_arguments(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Expired


def in_a_call(number: int, frame: FrameType | None) -> None:
    Path("/nonexistent/folder/file").read_text()


def of_a_wrapper(handler: Callable[..., None], *given: Any) -> None:
    handler(*given)


class Handlers:
    def method(self, number: int, frame: FrameType | None) -> None:
        raise Expired

    def __call__(self, number: int, frame: FrameType | None) -> None:
        raise Expired


HANDLERS: list[Callable[..., Any]] = [
    with_arguments,
    with_errno,
    with_any_arguments,
    without_arguments,
    in_a_call,
    lambda number, frame: with_any_arguments(),
    partial(of_a_wrapper, without_arguments),
    Handlers().method,
    Handlers(),
]


@pytest.fixture
def raised_by() -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Has a handler run, below some frames of other functions."""

    def send_signal(handler: Callable[..., Any]) -> None:
        signal.signal(signal.SIGUSR1, handler)
        list(map(signal.raise_signal, [signal.SIGUSR1]))

    before = signal.getsignal(signal.SIGUSR1)
    yield send_signal
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: getattr(handler, "__name__", type(handler).__name__))
def test_what_a_handler_raises_comes_out(
    handler: Callable[..., Any], raised_by: Callable[[Callable[..., Any]], None]
) -> None:
    raised = caught(lambda: raised_by(handler))
    assert isinstance(raised, OSError)
    assert interrupts.is_from_handler(raised)
    with pytest.raises(type(raised)), interrupts.suppress(OSError):
        raised_by(handler)


def wrapped_open(path: str) -> Any:
    return open(path)


def receive_late() -> bytes:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.001)
        return ours.recv(1)


OURS: list[Callable[[], Any]] = [
    lambda: os.stat("/nonexistent"),
    lambda: wrapped_open("/nonexistent"),  # as libraries wrap functions of the standard library
    lambda: Path("/nonexistent").read_text(),
    lambda: subprocess.run(["/nonexistent"], check=False),
    receive_late,  # it has no errno
    lambda: socket.create_connection(("127.0.0.1", 1), 0.5),
]


@pytest.mark.parametrize("act", OURS)
def test_what_the_system_raises_is_suppressed(act: Callable[[], Any]) -> None:
    with interrupts.suppress(OSError):
        act()
        raise AssertionError("it must have raised")
    error = caught(act)
    assert isinstance(error, OSError)
    assert not interrupts.is_from_handler(error)


def test_an_error_out_of_an_enum_is_not_a_handlers() -> None:
    """SIG_DFL is a member of an Enum, whose class calls the same function."""
    error = caught(lambda: signal.Signals(12345))
    assert isinstance(error, ValueError)
    assert not interrupts.is_from_handler(error)
    assert not is_from_handler(error)


# -- every line of the functions that ignore errors


def use_record() -> None:
    record = pidfiles.PidFile()
    record.create()
    record.write("env", Path("/usr/bin/python3"), os.getpid())
    pidfiles.list_servers()
    record.remove()


def use_streams() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        end = SocketEnd(ours)
        Opening(b"mark").wait(end, 0.0)
        end.end_sending()
        end.end_sending()
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb", closefd=True):
        ends = PipeEnds(-1, write_fd)
        try:
            ends.write_some(memoryview(b"x"))
        finally:
            ends.close()


def make_rendezvous() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        rendezvous = LoopbackRendezvous(ours)
        try:
            rendezvous.accept()
        finally:
            rendezvous.close()


def replace_socket(folder: Path) -> None:
    path = Path(tempfile.mkdtemp(dir=folder), "env.sock")  # the last error holds the socket that it interrupted
    with unix.bind(path):
        unix.remove(path, os.lstat(path))
    unix.remove(path, os.lstat(folder))


def look_at_the_user(folder: Path) -> None:
    user_dirs.working()
    os.close(client_watch.open_pidfd(os.getpid()))
    output_writer._copied_fd_of(None)
    warm_key._stamps([folder, folder / "missing"])
    venv_builder.read_marker(str(folder))


ACTS: dict[str, Callable[[Path], Any]] = {
    "record": lambda folder: use_record(),
    "streams": lambda folder: use_streams(),
    "same host": lambda folder: make_rendezvous(),
    "socket": replace_socket,
    "user": look_at_the_user,
}


@pytest.mark.parametrize("what", ACTS)
def test_at_every_line(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally, fds = Tally(), {*procfs.open_fds()}

    def check(point: int, where: str) -> None:
        for left in user_dirs.runtime_dir().glob("*.server"):
            left.unlink()

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    interrupt_at_each(lambda: ACTS[what](tmp_path), check, 1, tally, kinds=(TimeoutError,))
    tally.check()
    gc.collect()
    # Those that an interrupted line had opened and not stored yet.
    left = {*procfs.open_fds()} - fds
    assert len(left) <= tally["interrupts"] / 5
    for opened in left:
        os.close(int(opened.partition(" ")[0]))


# -- the source

# What runs in the user's process. ``listener`` does not; of ``standalone`` these files do, and catch such errors.
FOLDERS = ("config", "interpreters", "net", "processes", "servers")
IN_STANDALONE = ("procfs.py", "client_watch.py", "venv_builder.py", "installed_packages.py", "build_commands.py")
FILES = [LAUNCHER / "standalone" / name for name in IN_STANDALONE]
# In another thread than the main one, where no handler runs, or in the command line alone.
ELSEWHERE = {("logs.py", "_forget_oldest"), ("logs.py", "_newest_first"), ("logs.py", "write")}
ELSEWHERE |= {("output_writer.py", "_run"), ("output_writer.py", "_write"), ("lock.py", "write")}
ELSEWHERE |= {("client_watch.py", "leave_parent")}
# It is waited for: the handler's error counts as the system's, and is raised again at once or at the next look.
RAISED_AGAIN = {("venv_builder.py", "locked")}


def is_os_error(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Tuple):
        return any(map(is_os_error, node.elts))
    kind = getattr(builtins, getattr(node, "id", ""), None)
    return (isinstance(kind, type) and issubclass(kind, OSError)) or getattr(node, "attr", "") in ("timeout", "error")


def forgotten(function: ast.AST) -> Iterator[int]:
    """The lines that catch an OSError without asking who has raised it."""
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and is_os_error(node.type):
            body = ast.unparse(ast.Module(node.body, []))
            if body.rpartition("\n")[2] != "raise" and "raise_if_from_handler(" not in body:
                yield node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "contextlib.suppress":
            yield from [node.lineno] if any(map(is_os_error, node.args)) else []


def test_no_except_for_an_os_error_forgets_the_rule() -> None:
    found = []
    for file in [*(file for folder in FOLDERS for file in sorted((LAUNCHER / folder).glob("*.py"))), *FILES]:
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef) and (file.name, function.name) not in ELSEWHERE | RAISED_AGAIN:
                found += [f"{file.relative_to(LAUNCHER)}:{line} in {function.name}" for line in forgotten(function)]
    assert not found
