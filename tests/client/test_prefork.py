"""Servers forked from one process that has done the imports: one import, separate states, else as other servers."""

import os
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gym_service_launcher.processes import logs, pidfiles
from support import plays, polling, procfs, remote
from support.faulty import assert_exact, faulty
from support.opened import TARGET, opened
from support.paths import ENVS
from support.targets import TARGETS

import gym_service
from gym_service import RemoteEnv, errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# The usual target of these tests: its imports take little time.
OLD = "py38-gym021"
STEPS = 60


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file to which each import appends a line."""
    file = tmp_path / "imports"
    file.touch()
    return file


@contextmanager
def counted(trace: Path, deed: str = "", **given: Any) -> Iterator[RemoteEnv]:
    """The env whose imports are counted, forked unless ``given`` says otherwise."""
    keys = {"entry_point": "counted:CountedEnv", "prefork": True, "target": OLD, **given}
    with opened("Counted", environ={"COUNTED_IN": str(trace), "COUNTED": deed}, **keys) as env:
        yield env


def importers(trace: Path) -> list[int]:
    """The pids of the processes that have imported it."""
    return [int(line) for line in trace.read_text().split()]


@contextmanager
def warned(pattern: str) -> Iterator[None]:
    """Assert that the block gives this warning once, in the place where it is written, and no other."""
    with pytest.warns(UserWarning, match=pattern) as caught:
        yield
    assert [Path(warning.filename).name for warning in caught] == ["opened.py"]


@pytest.fixture(autouse=True)
def no_other_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# -- one import --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [OLD, TARGET])
def test_envs_of_one_client_share_one_import(trace: Path, target: str) -> None:
    with ExitStack() as envs:
        opened_envs = [envs.enter_context(counted(trace, target=target)) for _ in range(4)]
        pids = [env.target["pid"] for env in opened_envs]
        assert len(set(pids)) == 4
        assert [env.call("state")["pid"] for env in opened_envs] == pids
        (fork_server,) = importers(trace)
        assert fork_server not in pids
        opened_envs[0].close()
        polling.until_dead(pids[:1])
        assert procfs.state(fork_server)
        opened_envs[0] = envs.enter_context(counted(trace, target=target))
        assert len(importers(trace)) == 1
    polling.until_dead([fork_server])  # it ends with the last of its servers
    with counted(trace, target=target):
        assert len(importers(trace)) == 2


def test_sixteen_workers_share_one_import(trace: Path) -> None:
    vec = gym_service.make_vec(
        "Counted",
        16,
        workers=16,
        prefork=True,
        entry_point="counted:CountedEnv",
        python=str(TARGETS[TARGET].python()),
        pythonpath=[str(ENVS)],
        environ={"COUNTED_IN": str(trace)},
    )
    try:
        pids = {state["pid"] for state in vec.call("state")}
        assert len(pids) == 16
        assert len(importers(trace)) == 1
    finally:
        vec.close()


def test_what_decides_what_is_imported_decides_whose_import_is_shared(trace: Path, tmp_path: Path) -> None:
    with counted(trace), counted(trace), counted(trace, "draw"), counted(trace, cwd=str(tmp_path)):
        assert len(importers(trace)) == 3


def test_the_module_of_a_registered_class_is_imported_too(trace: Path) -> None:
    with ExitStack() as envs:
        for _ in range(2):
            given = {"entry_point": None, "id": "Counted-v0", "imports": ["counted_ids"]}
            env = envs.enter_context(counted(trace, **given))
            assert env.target["pid"] not in importers(trace)
        assert len(importers(trace)) == 1


def test_threads_of_a_client_share_one_import(trace: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def make(number: int) -> int:
        return int(envs.enter_context(counted(trace)).target["pid"])

    with ExitStack() as envs, ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(make, range(8)))) == 8
        assert len(importers(trace)) == 1


def test_a_restart_forks_once_more(trace: Path) -> None:
    with counted(trace, restart="on-reset") as env:
        for _ in range(2):
            first = env.target["pid"]
            os.kill(first, signal.SIGKILL)
            with pytest.raises(errors.ServerCrashed):
                env.step(0)
            env.reset()
            assert env.target["pid"] != first
        assert len(importers(trace)) == 1


def test_an_env_that_nobody_closes_lets_go_of_its_fork_server(trace: Path) -> None:
    keys = {"python": str(TARGETS[OLD].python()), "pythonpath": [str(ENVS)], "environ": {"COUNTED_IN": str(trace)}}
    env = gym_service.make("Counted", entry_point="counted:CountedEnv", prefork=True, restart="on-reset", **keys)
    pids = [env.target["pid"], *importers(trace)]
    del env
    polling.until_dead(pids)


# -- as any other server -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["unix", "stdio"])
@pytest.mark.parametrize("target", [OLD, TARGET])
def test_a_forked_server_is_like_one_that_was_started(trace: Path, target: str, transport: str) -> None:
    states = []
    for prefork in (False, True):
        with counted(trace, target=target, transport=transport, prefork=prefork) as env:
            assert env.call("multiply") == 600.0
            state = env.call("state")
            assert state.pop("pid") == env.target["pid"]
            assert (state["program"], state["argv"]) == ("", [])
            states.append(state)
    assert states[0] == states[1]


@pytest.mark.parametrize("target", ["py36-gym021", OLD, "py313-gymnasium14"])
def test_it_gives_the_same_numbers(target: str) -> None:
    python = TARGETS[target].python()
    plans = {name: plays.jobs_for(target)[name] for name in ("cartpole", "camera")}
    for plan in plans.values():
        plan["actions"] = plan["actions"][:STEPS]
    inside = dict(zip(plans, plays.in_process(python, list(plans.values())), strict=True))
    for name, plan in plans.items():
        plays.assert_same(remote.played(plan, python, prefork=True), inside[name])


@pytest.mark.parametrize("target", [OLD, TARGET])
@pytest.mark.parametrize("deed", ["", "draw"])
def test_chance_is_each_ones_own(trace: Path, deed: str, target: str) -> None:
    with counted(trace, deed, target=target) as one, counted(trace, deed, target=target) as other:
        assert len(importers(trace)) == 1
        drawn = [env.call("chance") for env in (one, other)]
        assert drawn[0][0] != drawn[1][0]
        assert drawn[0][1] != drawn[1][1]


@pytest.mark.parametrize("target", [OLD, TARGET])
def test_chance_that_the_simulator_has_seeded_is_as_it_left_it(trace: Path, target: str) -> None:
    with counted(trace, "seed", prefork=False, target=target) as started:
        expected = [started.call("chance") for _ in range(3)]
    with counted(trace, "seed", target=target) as one, counted(trace, "seed", target=target) as other:
        for env in (one, other):
            assert [env.call("chance") for _ in range(3)] == expected


def test_what_an_import_warns_of_reaches_each_user(trace: Path) -> None:
    with ExitStack() as envs:
        for _ in range(2):
            with warned("an old simulator"):
                envs.enter_context(counted(trace, "warn"))


def test_its_output_and_its_record_are_its_own(trace: Path) -> None:
    name = f"Counted-{os.getpid()}"
    keys = {"python": str(TARGETS[OLD].python()), "pythonpath": [str(ENVS)], "environ": {"COUNTED_IN": str(trace)}}
    envs = [gym_service.make(name, entry_point="counted:CountedEnv", prefork=True, **keys) for _ in range(2)]
    try:
        for number, env in enumerate(envs):
            env.call("say", f"line {number}")
            env.call("say", f"line {number}")
        running = {server.pid: server for server in pidfiles.list_servers()}
        for number, env in enumerate(envs):
            env.reset()
            pid = env.target["pid"]
            assert (running[pid].name, running[pid].calls) == (name, 3)
            polling.until(lambda pid=pid: logs.of_pid(str(pid)), "its log")  # a thread of this process writes it
            (log,) = logs.of_pid(str(pid))
            polling.until(lambda log=log: log.read_text().count("\n") == 2, "its two lines")
            assert log.read_text() == f"line {number}\n" * 2
        (fork_server,) = importers(trace)
        assert running[fork_server].name == f"forkserver:{name}"
        assert logs.of_pid(str(fork_server))[0].read_text() == "imported\n"
    finally:
        for env in envs:
            env.close()
    assert not [server for server in pidfiles.list_servers() if name in server.name]


@pytest.mark.parametrize(
    ("fault", "silence", "place"),
    [
        ("SIGSTOP", "stopped", ""),
        ("asleep in C", "blocked", "sleep_in_c"),
        ("spinning in Python", "busy", "spin_in_python"),
    ],
)
def test_a_late_call_says_why(fault: str, silence: str, place: str) -> None:
    with faulty(prefork=True, timeouts={"step": 0.3}) as env, faulty(prefork=True) as sibling:
        env.reset()
        env.call("arm", "step", fault)
        with pytest.raises(errors.CallTimeout) as caught:
            env.step(np.array([1, 2], np.int64))
        assert caught.value.state == silence
        assert place in caught.value.stack
        assert_exact(sibling, 20)


@pytest.mark.parametrize(("fault", "exit_code"), [("os._exit", 7), ("sys.exit", 3), ("SIGSEGV", -11), ("SIGKILL", -9)])
def test_a_crash_is_its_own(fault: str, exit_code: int) -> None:
    with faulty(prefork=True) as env, faulty(prefork=True) as sibling:
        env.reset()
        env.call("arm", "step", fault)
        with pytest.raises(errors.ServerCrashed) as caught:
            env.step(np.array([1, 2], np.int64))
        assert caught.value.exit_code == exit_code
        assert "last words" in caught.value.tail
        assert "its fork server" not in str(caught.value)
        assert_exact(sibling, 20)


def test_what_a_server_has_started_ends_with_it() -> None:
    with faulty(prefork=True) as sibling:
        with faulty(prefork=True) as env:
            children = env.call("start_children")
            assert all(map(procfs.state, children))
        polling.until_dead(children)
        assert_exact(sibling, 20)


# -- starts that fail --------------------------------------------------------------------------------------------


def start_error(trace: Path, deed: str, prefork: bool, **given: Any) -> errors.ServerStartError:
    with pytest.raises(errors.ServerStartError) as caught, counted(trace, deed, prefork=prefork, **given):
        pass
    return caught.value


@pytest.mark.parametrize("deed", ["fail", "os._exit", "sys.exit"])
def test_an_import_that_fails_is_the_same_error(trace: Path, deed: str) -> None:
    ours, usual = (start_error(trace, deed, prefork) for prefork in (True, False))
    assert str(ours) == str(usual)
    assert vars(ours) == vars(usual)


def test_an_interpreter_without_numpy_is_the_same_error(trace: Path, tmp_path: Path) -> None:
    python = tmp_path / "bare"
    subprocess.run([TARGETS[TARGET].python(), "-m", "venv", "--without-pip", python], check=True)
    ours, usual = (start_error(trace, "", prefork, python=str(python)) for prefork in (True, False))
    assert "has no numpy" in str(ours)
    assert str(ours) == str(usual)


def test_an_import_that_hangs_ends_at_its_timeout(trace: Path) -> None:
    # On a busy machine the modules that it imports first may take longer than that. Then nothing hangs yet.
    for limit_s in (3, 15, 60):
        begun = time.monotonic()
        error = start_error(trace, "hang", True, timeouts={"start": limit_s})
        assert time.monotonic() - begun >= limit_s
        if importers(trace):
            break
    assert str(error).startswith(f"the server of 'Counted' did not start: it was not up after {limit_s} s (blocked)")
    assert "in hang\n" in str(error)
    assert "still here" in error.tail
    assert len(importers(trace)) == 1
    polling.until_dead(importers(trace))


@pytest.mark.parametrize(
    ("deed", "left"), [("thread", r"threads \(python.*\)"), ("process", r"processes \(python.*\)")]
)
def test_what_a_fork_would_not_have_is_told_and_nothing_is_forked(trace: Path, deed: str, left: str) -> None:
    for made in (1, 2):  # only the first finds it out
        with (
            warned(f"'Counted' was started without prefork: its imports have left {left}"),
            counted(trace, deed) as env,
        ):
            assert len(importers(trace)) == 1 + made
            assert env.target["pid"] == importers(trace)[-1]
    # What the imports left behind ends with the process that found out.
    assert not [server for server in pidfiles.list_servers() if server.name.startswith("forkserver:")]


@pytest.mark.parametrize("target", [OLD, TARGET])
def test_threads_of_openblas_are_no_obstacle(trace: Path, target: str) -> None:
    with counted(trace, "compute", target=target) as one, counted(trace, "compute", target=target) as other:
        assert [env.call("multiply") for env in (one, other)] == [600.0, 600.0]
        assert len(importers(trace)) == 1


# -- ends --------------------------------------------------------------------------------------------------------


def test_a_fork_server_killed(trace: Path) -> None:
    with counted(trace) as one, counted(trace) as other:
        (fork_server,) = importers(trace)
        os.kill(fork_server, signal.SIGKILL)
        polling.until_dead([one.target["pid"], other.target["pid"]])
        for env in (one, other):
            with pytest.raises(errors.ServerCrashed) as caught:
                env.step(0)
            assert caught.value.exit_code == -9
            told = f"its fork server, process {fork_server}, from which it was forked: killed by SIGKILL (signal 9)"
            assert told in str(caught.value)
        with counted(trace) as fresh:
            fresh.reset()
            assert len(importers(trace)) == 2
    polling.until_dead(importers(trace))


def test_a_fork_server_stopped(trace: Path) -> None:
    """It forks nothing, and nothing waits for it; a crash is reported as such."""
    with ExitStack() as envs:
        one = envs.enter_context(counted(trace))
        (fork_server,) = importers(trace)
        os.kill(fork_server, signal.SIGSTOP)
        polling.until_state(fork_server, "T")
        begun = time.monotonic()
        with warned(f"without prefork: its fork server, process {fork_server}, is stopped"):
            other = envs.enter_context(counted(trace))
        # A second until it is suspected, and a usual start. Before, it took ten seconds more and gave no env.
        assert time.monotonic() - begun < 8.0
        other.reset()
        os.kill(one.target["pid"], signal.SIGKILL)
        with pytest.raises(errors.ServerCrashed) as caught:
            one.step(0)
        assert caught.value.exit_code == -9
        assert f"its fork server, process {fork_server}, from which it was forked: stopped" in str(caught.value)
    polling.until_dead(importers(trace))


def test_a_fork_of_the_client_starts_its_own(trace: Path) -> None:
    with counted(trace) as env:
        child = os.fork()
        if child == 0:
            try:
                with counted(trace) as own:
                    own.reset()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(importers(trace)) == 2
        env.reset()
