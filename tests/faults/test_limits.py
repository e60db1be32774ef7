"""Small and full machines: few descriptors, no room, odd folders, much output; many servers, one after another."""

import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gym_service_launcher.processes import logs
from support import polling, procfs
from support.clients import PRELUDE, assert_nothing_outlives, client
from support.faulty import TRANSPORTS, act, alternately, armed, assert_exact, faulty
from support.paths import TESTS
from support.targets import cache_folder

from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


LONG_OUTPUTS = [(when, transport) for when in ("idle", "reset", "render") for transport in TRANSPORTS]


@pytest.mark.parametrize(
    ("when", "transport"),
    [*alternately(["make", "step"]), *(pytest.param(*case, marks=pytest.mark.long) for case in LONG_OUTPUTS)],
)
def test_100_megabytes_of_output(when: str, transport: str) -> None:
    at_start = {"on": "make", "what": "much output"} if when == "make" else {}
    with faulty(transport=transport, **at_start) as env:
        env.reset()
        if when == "idle":  # its output is read in this case too
            env.call("arm_signal", "much output")
            os.kill(env.target["pid"], signal.SIGUSR1)
        elif when != "make":
            env.call("arm", when, "much output")
            act(env, when)
        assert_exact(env, 50)
        pid = env.target["pid"]
        env.call("arm", "step", "os._exit")
        with pytest.raises(errors.ServerCrashed) as caught:
            act(env, "step")
    assert len(caught.value.tail) <= 2 * 65536
    assert caught.value.tail.endswith("last words\n")
    files = list(logs.folder().glob(f"Faulty.{pid}.*"))
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) <= 2 * logs.FILE_BYTES


FEW_FILES = """
import resource
import gym_service.factory.open_env
from gym_service_launcher.interpreters import diagnosis, find
from gym_service_launcher.processes import guardian_client
limit, entries = int(os.environ["FAULTS_CASE"].split(",")[1]), []
with faulty():  # all is imported that will be
    pass
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
before = len(procfs.open_fds())
try:
    while len(entries) < 40:
        context = faulty(transport=os.environ["FAULTS_CASE"].split(",")[0])
        entries.append((context, context.__enter__()))
except errors.GymServiceError as error:
    say(type(error).__name__, "Too many open files" in str(error) or "too many files" in str(error))
else:
    say("no error")
for context, env in entries:
    env.reset()
    for number in range(20):
        assert act(env, "step", number)[1] == number
    context.__exit__(None, None, None)
del entries
say(len(procfs.open_fds()) - before)
"""


@pytest.mark.parametrize(("limit", "transport"), alternately([16, 24, 40]))
def test_few_descriptors(limit: int, transport: str) -> None:
    """As many envs as there is room for, then a typed error. The envs that were made work."""
    with client(FEW_FILES, {"FAULTS_CASE": f"{transport},{limit}"}) as running:
        assert running.says() == "ServerStartError True"
        assert running.says() == "0"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


ONE_MORE_ENV = """
import resource
import gym_service.factory.open_env
from gym_service_launcher.interpreters import diagnosis, find
with faulty(transport=os.environ["FAULTS_CASE"]) as env:
    env.reset()
    first = max(procfs.fd_numbers())  # the number of that listing is free again
    refused = 0
    for limit in range(first, first + 60):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            with faulty(transport=os.environ["FAULTS_CASE"]) as other:
                other.reset()
                break
        except errors.ServerStartError:
            refused += 1
        assert act(env, "step", refused)[1] == refused, limit
    say(refused > 2)
    say(limit < first + 59)
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_env_outlives_each_attempt_to_make_another_without_descriptors(transport: str) -> None:
    """Whatever step of ``make`` finds no descriptor, the envs that exist go on."""
    with client(ONE_MORE_ENV, {"FAULTS_CASE": transport}) as running:
        assert running.says() == "True"
        assert running.says() == "True"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


GUARDIAN_FEW_FILES = """
import resource
import gym_service.factory.open_env
from gym_service_launcher.processes import guardian_client
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
entries = [(context := faulty(), context.__enter__())]  # the guardian ends with the last server
guardian = procfs.guardian_of()
resource.prlimit(guardian, resource.RLIMIT_NOFILE, (26, 26))
try:
    while len(entries) < 40:
        context = faulty()
        entries.append((context, context.__enter__()))
except errors.ServerStartError as error:
    say("Too many open files" in str(error) or "ulimit" in str(error) or str(error))
say(len(entries) > 0)
for context, env in entries:
    env.reset()
    assert act(env, "step", 3)[1] == 3
    context.__exit__(None, None, None)
with faulty() as env:
    env.reset()
    say(act(env, "step", 3)[1])
"""


def test_a_guardian_with_few_descriptors_refuses_one_server_and_keeps_the_others() -> None:
    with client(GUARDIAN_FEW_FILES) as running:
        assert running.says() == "True"
        assert running.says() == "True"
        assert running.says() == "3.0"
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


GUARDIAN_WITHOUT_DESCRIPTORS = """
with faulty() as env, faulty() as other:
    for each in (env, other):
        each.reset()
    say(env.target["pid"], *env.call("start_children"))
    hear()
    try:
        act(env, "step")
    except errors.ServerCrashed as error:
        say(error.exit_code)
    say(act(other, "step", 3)[1])
"""


def test_a_guardian_that_cannot_read_proc_lives_and_sweeps_later() -> None:
    with client(GUARDIAN_WITHOUT_DESCRIPTORS) as running:
        server, same_group, *others = map(int, running.says().split())
        guardian = procfs.guardian_of(running.pid)
        used = {int(one.partition(" ")[0]) for one in procfs.open_fds(guardian)}
        lowest = min({*range(len(used) + 1)} - used)  # of those that are free
        limits = resource.prlimit(guardian, resource.RLIMIT_NOFILE)
        resource.prlimit(guardian, resource.RLIMIT_NOFILE, (lowest, limits[1]))
        os.kill(server, signal.SIGKILL)
        polling.until_dead([server, same_group])
        waits = procfs.waits(guardian)
        # It has looked at its end, and some times again.
        polling.until(lambda: not procfs.exists(guardian) or procfs.waits(guardian) > waits + 2, "its next waits")
        assert procfs.state(guardian)
        assert all(procfs.state(pid) for pid in others)
        resource.prlimit(guardian, resource.RLIMIT_NOFILE, limits)
        polling.until_dead(others)
        running.hears()
        assert running.says() == "-9"
        assert running.says() == "3.0"
        assert procfs.guardian_of(running.pid) == guardian
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


WORKS = """
with armed("step", "SIGKILL", transport=os.environ["FAULTS_CASE"]) as env:
    pid = env.target["pid"]
    try:
        act(env, "step")
    except errors.ServerCrashed as error:
        assert "last words" in error.tail
        say("told")
with faulty(transport=os.environ["FAULTS_CASE"], side=160) as env:
    env.call("say", "x" * 3000000)
    __import__("support.faulty").faulty.assert_exact(env, 100)
    assert env.call("measure", __import__("numpy").zeros(2**24, "u1")) == 2**24
say("works")
"""


def assert_works(environ: dict[str, str], transport: str) -> None:
    with client(WORKS, {"FAULTS_CASE": transport, **environ}) as running:
        assert running.says() == "told"
        assert running.says() == "works"
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_tmpdir_of_120_characters(transport: str, tmp_path: Path) -> None:
    folder = tmp_path / ("t" * 120)
    folder.mkdir()
    assert_works({"TMPDIR": str(folder)}, transport)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_tmpdir_that_cannot_be_written(transport: str) -> None:
    """Root may write into any folder, but no process can create a file in this one."""
    assert_works({"TMPDIR": "/proc/self/fdinfo"}, transport)


UNUSABLE = ("/proc/self/fdinfo", "/dev/null/under", "relative", "", "/no\n such")


@pytest.mark.parametrize(("folder", "transport"), alternately(UNUSABLE))
def test_folders_for_logs_and_records_that_cannot_be_had(folder: str, transport: str) -> None:
    # A relative folder is ignored, so the home folder is tried next.
    home = {"HOME": "/dev/null", "GYM_SERVICE_TEST_CACHE": str(cache_folder())} if not folder.startswith("/") else {}
    assert_works({"XDG_STATE_HOME": folder, "XDG_RUNTIME_DIR": folder, **home}, transport)


def in_full_filesystem(folder: Path) -> list[str]:
    """The first words of a command that runs the rest with a full filesystem in a folder. Skips without permission."""
    script = f'mount -t tmpfs -o size=8k none {folder} && cat /dev/zero > {folder}/full; exec "$@"'
    begin = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*begin, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the permission to mount a filesystem")
    return begin


@pytest.mark.parametrize("folder", ["/dev/shm", "state"])
def test_a_full_filesystem(folder: str, tmp_path: Path) -> None:
    where = Path(folder) if folder.startswith("/") else tmp_path / folder
    where.mkdir(exist_ok=True)
    begin = in_full_filesystem(where)
    environ = {**os.environ, "FAULTS_CASE": "unix", "XDG_STATE_HOME": str(where), "XDG_RUNTIME_DIR": str(where)}
    ran = subprocess.run(
        [*begin, sys.executable, "-c", PRELUDE + WORKS], env=environ, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "told\nworks\n"), ran.stderr
    assert "No space left" not in ran.stderr.replace("cat: write error: No space left on device", "")


LONG = [4, pytest.param(1000, marks=pytest.mark.long)]
GROWTH_BYTES = 4 * 2**20


class Held:
    """The resources of this process and its guardian."""

    def __init__(self) -> None:
        guardian = procfs.guardian_of(os.getpid())
        gc.collect()
        self.fds = len(procfs.open_fds()), len(procfs.open_fds(guardian))
        self.threads = threading.active_count()
        self.memory_bytes = procfs.memory_bytes(), procfs.memory_bytes(guardian)
        self.children = len(procfs.zombies(os.getpid())), len(procfs.zombies(guardian))

    def assert_same_as(self, before: "Held") -> None:
        assert (self.fds, self.threads, self.children) == (before.fds, before.threads, before.children)
        for now, then in zip(self.memory_bytes, before.memory_bytes, strict=True):
            assert now - then <= GROWTH_BYTES


@pytest.mark.parametrize("cycles", LONG)
def test_opening_and_closing_again_and_again(cycles: int) -> None:
    def cycle(number: int) -> None:
        with faulty(transport=TRANSPORTS[number % 2]) as env:
            env.reset()
            assert act(env, "step", number)[1] == number

    for number in range(6):
        cycle(number)
    before = Held()
    for number in range(cycles):
        cycle(number)
    polling.until(lambda: threading.active_count() == before.threads, "the end of the threads")
    Held().assert_same_as(before)


@pytest.mark.parametrize("cycles", LONG)
def test_crashing_again_and_again(cycles: int) -> None:
    faults = ("SIGKILL", "os._exit", "SIGABRT")

    def cycle(number: int) -> None:
        with (
            armed("step", faults[number % 3], transport=TRANSPORTS[number % 2]) as env,
            pytest.raises(errors.ServerCrashed),
        ):
            act(env, "step")

    for number in range(6):
        cycle(number)
    before = Held()
    for number in range(cycles):
        cycle(number)
    polling.until(lambda: threading.active_count() == before.threads, "the end of the threads")
    Held().assert_same_as(before)


@pytest.mark.parametrize("count", [8, pytest.param(64, marks=pytest.mark.long)])
def test_many_starts_at_once(count: int) -> None:
    with faulty():
        pass
    before = Held()

    def use(number: int) -> float:
        with faulty(transport=TRANSPORTS[number % 2]) as env:
            env.reset()
            barrier.wait(120)  # so that all of them exist at the same time
            return float(act(env, "step", number)[1])

    barrier = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(use, range(count))) == [float(number) for number in range(count)]
    polling.until(lambda: threading.active_count() == before.threads, "the end of the threads")
    now = Held()
    assert (now.fds, now.threads, now.children) == (before.fds, before.threads, before.children)


def test_large_things_cross_whole() -> None:
    with faulty() as env:
        array = np.arange(2**20, dtype=np.int64)
        assert (env.call("echo", array) == array).all()


def test_chaos_in_little() -> None:
    """Five seconds of tests/tools/chaos.py, which can run for any time."""
    argv = [sys.executable, str(TESTS / "tools/chaos.py"), "--minutes", "0.08", "--seed", "7"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
