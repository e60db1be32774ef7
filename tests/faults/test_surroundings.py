"""A client that waits for any child, embeds Python, has no processes left, or sees the /proc of another namespace."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support import hosts
from support.clients import assert_nothing_outlives, client
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

TIMEOUT_S = 120.0


# -- os.wait() ---------------------------------------------------------------------------------------------------

WAITS_FOR_ANY = """
def wait():
    signal.alarm(30)
    try:
        return os.wait()[0]
    except ChildProcessError:
        return "no child"
    finally:
        signal.alarm(0)
with faulty() as env:
    env.reset()
    say(wait())
say(wait())
with faulty() as env:
    env.reset()
    say("works", wait())
"""


def test_a_wait_for_any_child_finds_none_of_ours() -> None:
    with client(WAITS_FOR_ANY) as running:
        assert [running.says() for _ in range(3)] == ["no child", "no child", "works no child"]
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


# Orphans become children of a subreaper. If it waits for any child, it gets those too, but must not wait for ever.
SUBREAPER = """
import ctypes
ctypes.CDLL(None).prctl(36, 1)
signal.alarm(60)
for number in range(3):
    with faulty() as env:
        env.reset()
        act(env, "step")
    if number == 1:
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
    say("works")
say(len(procfs.zombies(os.getpid())))
"""


def test_a_subreaper_can_wait_for_all_of_its_children() -> None:
    with client(SUBREAPER) as running:
        assert [running.says() for _ in range(3)] == ["works"] * 3
        assert int(running.says()) <= 1  # the last guardian, which the next server would reap
        assert running.end() == 0
        assert_nothing_outlives(running, [])


# -- programs that embed Python ----------------------------------------------------------------------------------

EMBEDDING = """
sys.executable = {executable!r}
os.environ["PATH"] = {path!r}
with faulty() as env:
    env.reset()
    say(act(env, "step", 3)[1])
"""


@pytest.mark.parametrize("executable", ["", "/usr/bin/false"])
@pytest.mark.parametrize("path", ["/no/such/folder", os.environ["PATH"]])
def test_a_program_that_is_no_python_itself(executable: str, path: str) -> None:
    with client(EMBEDDING.format(executable=executable, path=path)) as running:
        assert running.says() == "3.0"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


def test_a_frozen_program_is_not_started_again() -> None:
    with client("sys.frozen = True\n" + EMBEDDING.format(executable=sys.executable, path="")) as running:
        assert running.says() == "3.0"
        assert running.end() == 0


# -- a limit of processes ----------------------------------------------------------------------------------------

# Each process limit from zero up, until the env can be made: before that a typed error that names the limit.
# Dead processes count too until their parent waits for them, so all that a try leaves behind become children of this
# process, which waits for their end before the next try.
LIMITED = """
import ctypes, os, resource, signal, sys
import gym_service
import gym_service.factory.server_startup
from gym_service import errors
def tasks():
    return sum(
        len(os.listdir(f"/proc/{pid}/task"))
        for pid in os.listdir("/proc")
        if pid.isdigit() and os.stat(f"/proc/{pid}").st_uid == os.getuid()
    )
def wait_for_children():
    signal.alarm(30)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        signal.alarm(0)
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
before = tasks()
for more in range(1, 200):
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NPROC, (before + more, before + more))
        try:
            env = gym_service.make("CartPole-v1", python=sys.argv[1], timeouts={"start": 30})
            env.reset(seed=3)
            env.close()
            print("works", flush=True)
            os._exit(0)
        except errors.ServerStartError as error:
            print("refused", str(error).replace("\\n", " "), flush=True)
            os._exit(1)
    worked = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wait_for_children()
    if worked:
        break
"""


def as_limited_user() -> list[str]:
    """The words before a command that make a limit effective: limits do not apply to root."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        hosts.missing("setpriv (util-linux)")
    reads_all = "+dac_override,+dac_read_search"
    return [
        *("setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-sys_resource,-sys_admin"),
        *("--inh-caps", reads_all, "--ambient-caps", reads_all),
    ]


@pytest.fixture
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path("/tmp") / f"gym-service-limited-{os.getpid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_no_more_processes_is_a_typed_error(open_folder: Path) -> None:
    python = open_folder / "python"  # another user cannot look for an interpreter in root's home
    python.write_text(f'#!/bin/sh\nexec {TARGETS[TARGET].python()} "$@"\n')
    python.chmod(0o755)
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(open_folder), "XDG_STATE_HOME": str(open_folder)}
    environ["HOME"] = str(open_folder)
    words = [*as_limited_user(), sys.executable, "-c", LIMITED, str(python)]
    ran = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    *refused, last = ran.stdout.splitlines()
    assert last == "works"
    assert all(line.startswith("refused the server of 'CartPole-v1' did not start: ") for line in refused)
    # First the guardian cannot start, then its server or the thread that reads the output.
    assert "Resource temporarily unavailable" in refused[0]
    assert any("can't start new thread" in line for line in refused)
    assert sum("a higher limit of them (ulimit -u" in line for line in refused) >= 2
    assert ran.stderr == ""


# -- the /proc of another PID namespace --------------------------------------------------------------------------

# This /proc has only the pids of the outer namespace. Reading it would describe another process.
ELSEWHERE = """
import os, signal, sys, time
import gym_service
from gym_service import errors
from gym_service_launcher.processes import pidfiles
from gym_service_launcher.standalone import procfs
assert not procfs.is_ours() and os.getpid() < 100
env = gym_service.make("Faulty", entry_point="faulty:FaultyEnv", python=sys.argv[1], pythonpath=[sys.argv[2]],
                       timeouts={"step": 0.5})
env.reset()
assert pidfiles.list_servers() == []
env.call("arm", "step", "asleep in C")
try:
    env.step(0)
except errors.CallTimeout as error:
    print(error.state)
env = gym_service.make("CartPole-v1", python=sys.argv[1], prefork=True)
env.reset()
env.close()
print("works")
"""


def in_foreign_proc(words: Sequence[str]) -> list[str]:
    """The first words of a command that runs in its own PID namespace, with the outer /proc."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--pid", "--fork", "--kill-child", "--", *words]


@pytest.mark.filterwarnings("ignore:.*without prefork")
def test_the_proc_of_another_namespace_is_not_read(tmp_path: Path) -> None:
    if subprocess.run(in_foreign_proc(["true"]), capture_output=True, check=False).returncode:
        hosts.missing("unshare (util-linux) with process namespaces")
    words = [sys.executable, "-W", "always", "-c", textwrap.dedent(ELSEWHERE), str(TARGETS[TARGET].python()), str(ENVS)]
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    ran = subprocess.run(
        in_foreign_proc(words), env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ran.stdout.splitlines() == ["unknown", "works"], ran.stderr
    assert "it has no /proc, or that of another PID namespace" in ran.stderr
    assert not list(tmp_path.rglob("*.server"))
