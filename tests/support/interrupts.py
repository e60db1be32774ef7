"""Raises exceptions as a signal handler would: at a chosen line of the client's code, or from a timer at any moment.

Knows sys.settrace, and the modules of the client. Never knows what is interrupted. Python 3.10 and up.
"""

import os
import random
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

from gym_service import RemoteEnv, RemoteVectorEnv, errors
from support import procfs

# The value of ``every`` in the long forms: each point is tried.
EACH = pytest.param(1, marks=pytest.mark.long)
NEEDS_BYTECODES = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in Python 3.12")
LOADS = pytest.mark.parametrize("load", [0, 2], ids=["quiet", "loaded"])

OTHER = 100  # the action of the interrupted step

OURS = ("gym_service", "gym_service_launcher")
# A finalizer, and a callback of weak references: CPython prints and drops whatever is raised there.
DROPPED = ("__del__", "_forget")


class Late(Exception):
    """The exception of a timeout decorator: a class that no other code knows."""


KINDS: tuple[type[BaseException], ...] = (KeyboardInterrupt, Late, TimeoutError, SystemExit)
# Of the many bytecodes each is tried with fewer kinds.
BYTECODE_KINDS: tuple[type[BaseException], ...] = (KeyboardInterrupt, TimeoutError)


class Interruption:
    """What was raised, and where; ``raised`` is None if the chosen point was not reached."""

    def __init__(self) -> None:
        self.points = 0
        self.raised: BaseException | None = None
        self.where = ""

    def count(self, point: int, kind: type[BaseException], file: str, line: int, function: str) -> None:
        """Count one more point; raise at the chosen one."""
        self.points += 1
        if self.points == point + 1:
            self.where = f"{file}:{line} in {function}"
            self.raised = kind(f"at point {point}")
            raise self.raised


@contextmanager
def interrupted_at(
    point: int,
    kind: type[BaseException],
    *,
    bytecodes: bool = False,
    modules: tuple[str, ...] = OURS,
    functions: tuple[str, ...] = (),
) -> Iterator[Interruption]:
    """Raise once, at the ``point``-th line or bytecode of the client's code.

    Lines can be limited to those of some modules, and of some functions in them.

    This is like a signal handler's exception, but at a chosen point. Finalizers are left out: CPython prints and drops
    whatever is raised there.
    """
    found = Interruption()
    count = partial(found.count, point, kind)
    with _each_bytecode(count) if bytecodes else _each_line(count, modules, functions):
        yield found


@contextmanager
def interrupted_at_return(function: FunctionType) -> Iterator[None]:
    """Raise Late once, when this function has done everything and returns."""

    def trace_calls(frame: FrameType, event: str, arg: Any) -> Any:
        return trace_return if frame.f_code is function.__code__ else None

    def trace_return(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "return":
            sys.settrace(None)
            raise Late
        return trace_return

    with _tracing(trace_calls):
        yield


def forget_handled() -> None:
    """Drop the tracebacks of the exception that counts as handled here, and of those before it.

    From 3.11 on, CPython takes an exception for handled still where a trace function raised on the last line of its
    ``except``. Its traceback keeps the frames of all callers too, with all their variables: environments, arrays.
    """
    handled = sys.exc_info()[1]
    while handled is not None:
        before = handled.__context__
        handled.__traceback__ = handled.__context__ = None
        handled = before


@contextmanager
def _tracing(trace: Callable[[FrameType, str, Any], Any]) -> Iterator[None]:
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def _each_line(
    count: Callable[[str, int, str], None], modules: tuple[str, ...], functions: tuple[str, ...]
) -> AbstractContextManager[None]:
    def trace_calls(frame: FrameType, event: str, arg: Any) -> Any:
        is_counted = (frame.f_globals.get("__name__") or "").startswith(modules)
        name = frame.f_code.co_name
        return trace_lines if is_counted and name not in DROPPED and (not functions or name in functions) else None

    def trace_lines(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            count(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        return trace_lines

    return _tracing(trace_calls)


@contextmanager
def _each_bytecode(count: Callable[[str, int, str], None]) -> Iterator[None]:
    """Needs Python 3.12."""
    monitoring = sys.monitoring
    folders = tuple(f"{os.sep}{name}{os.sep}" for name in OURS)

    def see(code: CodeType, offset: int) -> Any:
        if code.co_name in DROPPED or not any(folder in code.co_filename for folder in folders):
            return monitoring.DISABLE
        count(code.co_filename, offset, code.co_name)
        return None

    monitoring.use_tool_id(monitoring.PROFILER_ID, "interrupts")
    monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, see)
    monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION)
    try:
        yield
    finally:
        monitoring.set_events(monitoring.PROFILER_ID, 0)
        monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, None)
        monitoring.free_tool_id(monitoring.PROFILER_ID)
        monitoring.restart_events()


@contextmanager
def interrupted_after(seconds: float, kind: type[BaseException]) -> Iterator[list[BaseException]]:
    """Raise once, in the handler of a timer that fires after ``seconds``.

    Outside the client's code it waits a little longer: on a busy machine it may fire before the block begins.
    """
    raised: list[BaseException] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if raised:
            return
        if not is_in_client(frame):
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
            return
        raised.append(kind(f"after {seconds:g} s"))
        raise raised[0]

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield raised
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_in_client(frame: FrameType | None) -> bool:
    """Whether this frame or one of its callers is the client's code."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in OURS:
            return True
        frame = frame.f_back
    return False


def caught(act: Callable[[], object]) -> BaseException | None:
    """The exception that it raises."""
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test compares it
        return error
    return None


class Tally(Counter[str]):
    """Counts the outcomes of an env after each interrupt: ``interrupts``, ``usable``, and whatever a test adds."""

    def check(self, *, usable: float = 1.0) -> None:
        """Assert that the env was usable after this share of the interrupts, without a new server."""
        print(dict(self))
        assert self["interrupts"] > 0
        assert self["usable"] >= usable * self["interrupts"], dict(self)


def assert_unchanged(error: BaseException | None, found: Interruption) -> None:
    """Assert that the call raised the user's own exception; any other error is raised."""
    if found.raised is not None:
        assert error is found.raised, (found.where, error)
    elif error is not None:
        raise error


def interrupt_at_each(
    act: Callable[[], object],
    check: Callable[[int, str], None],
    every: int,
    tally: Tally,
    *,
    kinds: tuple[type[BaseException], ...] = KINDS,
    bytecodes: bool = False,
) -> None:
    """Interrupt a call at every so many points, until it has no more, with each kind of exception.

    ``check`` gets the number of the point and its place, after each interrupt.
    """
    for number, kind in enumerate(kinds):
        for point in range(number * every // len(kinds), 100_000, every):
            with interrupted_at(point, kind, bytecodes=bytecodes) as found:
                error = caught(act)
            assert_unchanged(error, found)
            forget_handled()
            if found.raised is None:
                break
            tally["interrupts"] += 1
            check(point, found.where)
            tally["usable"] += 1


def interrupt_at_random(
    act: Callable[[int], object],
    check: Callable[[int, str], None],
    timers: int,
    load: int,
    tally: Tally,
) -> None:
    """Interrupt a call, which gets the number of the timer, by so many timers while ``load`` threads compute.

    The call must last until the timer fires, after at most 10 ms. ``check`` gets the number of the timer, twice.
    """
    chosen = random.Random(timers + load)
    with busy(load):
        for number in range(timers):
            with interrupted_after(chosen.uniform(1e-4, 1e-2), chosen.choice(KINDS)) as raised:
                error = caught(partial(act, number))
            assert raised
            assert error is raised[0]
            tally["interrupts"] += 1
            check(number, str(number))
            tally["usable"] += 1


def interrupt_closes(
    made: Callable[[], AbstractContextManager[RemoteEnv | RemoteVectorEnv]],
    pids: Callable[[Any], list[int]],
    every: int,
) -> None:
    """Interrupt close() of a new env at every so many lines. The next close() leaves nothing.

    ``pids`` are those of the env's servers.
    """
    tally = Tally()
    for point in range(0, 10_000, every):
        with made() as env:
            servers = pids(env)
            with interrupted_at(point, KINDS[point % len(KINDS)]) as found:
                error = caught(env.close)
            assert_unchanged(error, found)
            env.close()
            assert not any(procfs.state(pid) for pid in servers), found.where
            with pytest.raises(errors.ClosedError):
                env.reset()
        if found.raised is None:
            break
        # CPython 3.13.0 can leak a generator that a tracer has interrupted, and with it all that its frames hold.
        traceback.clear_frames(found.raised.__traceback__)
        tally["interrupts"] += 1
        tally["usable"] += 1
    tally.check()


@contextmanager
def busy(threads: int) -> Iterator[None]:
    """Run threads that compute, so that the main thread has to wait for the GIL and for a processor."""
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    running = [threading.Thread(target=compute) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()
