"""After each test, checks that it has left no child process, open fd or temp file.

Knows /proc and the temp folder. Never knows what the tests are about. Python 3.10 and up. Without /proc (macOS) it
checks only the temp files.
"""

import contextlib
import gc
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Generator, Iterator
from multiprocessing import resource_tracker
from typing import NamedTuple

import pytest
from gym_service_launcher.processes import guardian_client
from support import procfs

# All processes that a test starts inherit this. It also identifies a daemon, which init has adopted.
MARK = f"GYM_SERVICE_TEST_RUN={os.getpid()}-{time.time_ns()}"

# How long a process may take to end after it was told to (seconds).
GRACE_S = 3.0

# uv leaves its lock files in the temp folder.
FOREIGN_FILES = ("uv-",)

# What ran before the tests is none of theirs: pids with the times at which they started.
EARLIER = frozenset(procfs.started_at())

Reporting = Generator[None, pytest.TestReport, pytest.TestReport]
HAS_PASSED = pytest.StashKey[bool]()


class Traces(NamedTuple):
    """The traces of this process in the system, each by a name that is unique."""

    processes: frozenset[str]
    fds: frozenset[str]
    files: frozenset[str]

    def beyond(self, earlier: "Traces") -> "Traces":
        return Traces(*(now - before for now, before in zip(self, earlier, strict=True)))

    def told(self) -> str:
        kinds = (("process", self.processes), ("fd", self.fds), ("file", self.files))
        return "\n".join(f"  {kind} {name}" for kind, names in kinds for name in sorted(names))


def pytest_configure(config: pytest.Config) -> None:
    """Give the run its own temp folder, so that every file in it comes from the tests."""
    # pytest keeps its own folders (tmp_path) where they were.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="gym-service-tests-")
    name, _, value = MARK.partition("=")
    os.environ[name] = value
    os.environ["XDG_STATE_HOME"] = os.environ["XDG_RUNTIME_DIR"] = tempfile.tempdir + "-state"
    # The tests must not see the envs.toml of the user who runs them.
    os.environ.pop("GYM_SERVICE_ENVS", None)
    # A shell ignores these signals in background jobs, and children inherit that.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    # multiprocessing starts its resource tracker on first use, and keeps it.
    resource_tracker.ensure_running()
    # So does this process's guardian.
    guardian_client.ensure()
    config.addinivalue_line("markers", "long: the long form of a test; runs only if -m names it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run tests marked ``long`` only on request: ``pytest tests/faults -m long``; all with "long or not long"."""
    if "long" in config.getoption("-m"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_collection_finish() -> None:
    """Leave the modules and tests that are loaded now out of each later garbage collection.

    They are a million objects that stay until the end, and most tests collect garbage to find what they have left.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
    tempfile.tempdir = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Reporting:
    """Record whether the test itself passed."""
    report = yield
    if call.when == "call":
        item.stash[HAS_PASSED] = report.passed
    return report


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    before = traces()
    yield
    left = traces().beyond(before)
    if any(left):
        left = after_grace(before)
    if any(left):
        kill(left.processes)
        # The traceback of a failed test holds its objects, and they hold their fds.
        if left.processes or request.node.stash.get(HAS_PASSED, False):
            pytest.fail(f"the test left behind:\n{left.told()}", pytrace=False)


def after_grace(before: Traces) -> Traces:
    """What is still left after garbage collection and a grace period for processes that are ending."""
    gc.collect()
    end = time.monotonic() + GRACE_S
    while any(left := traces().beyond(before)) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def traces() -> Traces:
    files = frozenset(name for name in os.listdir(tempfile.gettempdir()) if not name.startswith(FOREIGN_FILES))
    if not procfs.HAS_PROC:
        return Traces(frozenset(), frozenset(), files)
    return Traces(frozenset(our_processes()), frozenset(filter(is_no_open_log, procfs.open_fds())), files)


def is_no_open_log(fd: str) -> bool:
    """Not the log of a server that runs: it is opened by the first output, which may come at any time."""
    log = re.search(r"/logs/[^/]*\.(\d+)\.log$", fd)
    return log is None or not procfs.state(int(log[1]))


def our_processes() -> Iterator[str]:
    """Each living descendant: ``pid command line``."""
    own = os.getpid()
    for pid, started_at in procfs.started_at():
        if pid != own and (pid, started_at) not in EARLIER and procfs.state(pid) and is_ours(pid, own):
            yield f"{pid} {procfs.command_line(pid)}"


def is_ours(pid: int, own: int) -> bool:
    # Any of them may end, or turn out to be another user's, during this loop.
    with contextlib.suppress(OSError):
        return procfs.parent(pid) == own or MARK.encode() in procfs.environment(pid)
    return False


def kill(processes: frozenset[str]) -> None:
    """Kill leaked processes, so that one leak does not make every later test slow or wrong."""
    for process in processes:
        with contextlib.suppress(OSError):
            os.kill(int(process.split()[0]), signal.SIGKILL)
