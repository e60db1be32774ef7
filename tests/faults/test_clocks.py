"""Setting the wall clock, or reusing a pid for another process, has no effect."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gym_service_launcher.processes import pidfiles
from support import polling, procfs
from support.clients import assert_nothing_outlives, client
from support.faulty import TRANSPORTS, act, faulty
from support.paths import TESTS

from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")

JUMPS = """
from fixture_envs import jumping
from support.faulty import assert_exact
keys = {"transport": os.environ["FAULTS_CASE"], "imports": ["jumping"]}
assert abs(time.time() - time.time()) > 3000
with faulty(timeouts={"step": 1.0}, restart="on-reset", **keys) as env:
    assert abs(env.call("now") - env.call("now")) > 3000
    assert_exact(env, 300)
    for fault in ("asleep in Python", "SIGKILL"):
        env.call("arm", "step", fault)
        clock = Clock()
        try:
            act(env, "step")
        except (errors.CallTimeout, errors.ServerCrashed) as error:
            say(type(error).__name__, clock.is_within(1.0, 1.5) if fault != "SIGKILL" else clock.took_s <= 0.5)
        assert_exact(env, 10)
    clock = Clock()
say(clock.took_s <= 5.0)
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wall_clock_that_jumps_has_no_effect(transport: str) -> None:
    with client(JUMPS, {"FAULTS_CASE": transport}) as running:
        assert running.says() == "CallTimeout True"
        assert running.says() == "ServerCrashed True"
        assert running.says() == "True"
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


def test_no_clock_that_can_be_set_is_used() -> None:
    """Covers what the test above does not reach: no wait and no measurement uses the wall clock."""
    repository = TESTS.parent
    wall = ("time.time(", "time.time_ns(", ".now(", ".today(", "utcnow(", "CLOCK_REALTIME", "gmtime(", "st_mtime")
    folder = "launcher/gym_service_launcher"  # these use a time to identify a file, not to measure
    allowed = {(f"{folder}/processes/logs.py", "st_mtime"), (f"{folder}/interpreters/venv_spec.py", "st_mtime")}
    allowed |= {("gym_service/server/offscreen.py", "st_mtime"), (f"{folder}/servers/warm_key.py", "st_mtime")}
    allowed |= {(f"{folder}/standalone/image_files.py", "st_mtime")}
    # Which files changed since an import was ordered: the system's times of files are of this clock.
    allowed |= {(f"{folder}/servers/warm.py", "time.time("), (f"{folder}/standalone/forkserver.py", "time.time(")}
    # The time of a venv's last use, and of an entry's check: only shown to users.
    allowed |= {("gym_service/cli/check_log.py", "time.time(")}
    allowed |= {("gym_service/protocol/library_types.py", "time.time(")}  # it is datetime.time(
    allowed |= {("gym_service/client/in_flight.py", ".now(")}  # it is Readiness.now(
    allowed |= {(f"{folder}/interpreters/venv_cache.py", clock) for clock in ("time.time(", "st_mtime")}
    for path in [*repository.glob("gym_service/**/*.py"), *repository.glob("launcher/**/*.py")]:
        name, text = str(path.relative_to(repository)), path.read_text()
        for clock in wall:
            assert clock not in text or (name, clock) in allowed, f"{clock} in {name}"


@contextmanager
def process_with_pid(pid: int) -> Iterator[int]:
    """A sleeping process under a pid that another process had before. Yields the pid."""
    for _ in range(200):  # another process may take that pid, or the one before it
        try:
            LAST_PID.write_text(str(pid - 1))
        except OSError as error:
            pytest.skip(f"needs the permission to choose a pid: {error}")
        with subprocess.Popen(["sleep", "600"]) as process:
            try:
                if process.pid == pid:
                    yield pid
                    return
            finally:
                process.kill()
    raise AssertionError(f"pid {pid} is not available")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_pid_that_is_another_process_by_now(transport: str) -> None:
    with faulty(transport=transport) as env:
        env.reset()
        pid, record = env.target["pid"], next(server for server in pidfiles.list_servers())
        assert record.pid == pid
        os.kill(pid, signal.SIGKILL)
        polling.until(lambda: not procfs.exists(pid), "the end of the server, reaped")
        with process_with_pid(pid):
            assert not pidfiles.stop(record)
            assert not pidfiles.list_servers()
            stopped = subprocess.run([sys.executable, "-m", "gym_service", "stop", str(pid)], check=False)
            assert stopped.returncode == 2
            with pytest.raises(errors.ServerCrashed, match="killed by SIGKILL"):
                act(env, "step")
            env.close()
            assert procfs.state(pid), "a process that is not ours was killed"
