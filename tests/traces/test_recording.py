"""Traces of envs through gym-service: what is recorded, when the file appears, and what recording never does."""

import copy
import gc
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.opened import misbehaving, opened
from support.paths import REPOSITORY
from support.same import same
from support.targets import TARGETS

import gym_service
from gym_service.errors import ClosedError, EnvValueError, ServerCrashed, TraceError
from gym_service.protocol.value_digest import RollingDigest
from gym_service.traces import Row, TraceReader

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


def rows_of(path: Path) -> list[Row]:
    with TraceReader(path) as reader:
        rows = list(reader)
        assert reader.end is not None
        assert reader.end["calls"] == sum(row.call != "restart" for row in rows)
    return rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.trace"


@pytest.mark.parametrize("full", [False, True])
def test_a_trace_holds_what_was_asked_and_the_digest_of_what_came_back(path: Path, full: bool) -> None:
    came_back, digest = [], RollingDigest()
    with opened("CartPole-v1", kwargs={"render_mode": "rgb_array"}) as bare:
        env = gym_service.record_trace(bare, path, full=full)
        came_back.append(env.reset(seed=5, options={"low": -0.01, "high": 0.01}))
        for action in (0, np.int64(1), 0, 1):
            came_back.append(env.step(action))
        came_back.append((env.render(),))
        recorded = env.trace_digest
        assert not path.exists()
        env.close()
    calls = ["reset", "step", "step", "step", "step", "render"]
    summaries = [digest.add(call.encode(), results) for call, results in zip(calls, came_back, strict=True)]
    rows = rows_of(path)
    assert [row.call for row in rows] == calls
    asked = [(5, {"low": -0.01, "high": 0.01}), (0,), (np.int64(1),), (0,), (1,), ()]
    assert same([row.arguments for row in rows], asked)
    assert [row.summary for row in rows] == summaries
    assert same([row.results for row in rows], came_back if full else [None] * 6)
    assert recorded == digest.value.hex()
    with TraceReader(path) as reader:
        assert reader.header["full"] is full
        assert reader.header["env"]["id"] == "CartPole-v1"
        assert reader.header["env"]["kwargs"] == {"render_mode": "rgb_array"}
        assert reader.header["simulator"]["python"].startswith("3.12")
        assert os.fsencode(str(TARGETS["py312-gymnasium14"].python())) not in path.read_bytes()
        list(reader)
        assert reader.end == {"calls": 6, "steps": 4, "episodes": 1, "digest": digest.value}


def test_it_is_recorded_below_the_wrappers_of_this_side(path: Path) -> None:
    """A frame skip makes four steps of each, a transform changes what the trainer sees: the trace has neither."""

    class Skip(gymnasium.Wrapper):  # type: ignore[type-arg]
        def step(self, action: Any) -> Any:
            for _ in range(3):
                self.env.step(action)
            observation, *rest = self.env.step(action)
            return observation * 0, *rest

    with opened("CartPole-v1") as bare:
        env = gym_service.record_trace(Skip(bare), path, full=True)
        env.reset(seed=1)
        observation = env.step(0)[0]
        env.close()
    rows = rows_of(path)
    assert [row.call for row in rows] == ["reset"] + ["step"] * 4
    assert not observation.any()
    assert rows[-1].results is not None
    assert rows[-1].results[0].any()


def test_assigning_and_calling_are_recorded_and_looking_is_not(path: Path) -> None:
    # In the test's own Python: a callable cannot travel to another version.
    with opened("Misbehaving-v0", "misbehaving", python=sys.executable) as env:
        gym_service.record_trace(env, path)
        env.reset(seed=1)
        env.count = 7
        assert env.echo({"x": np.arange(3)})["x"].tolist() == [0, 1, 2]
        assert env.unwrapped.has_wrapper_attr("count")
        assert env.call(lambda remote, number: number, 1) == 1
        env.call("operator:truth")
    rows = rows_of(path)
    assert [row.call for row in rows] == ["reset", "set", "call", "function", "function"]
    asked = [("count", 7, True), ("echo", ({"x": np.arange(3)},), {}), (None, (1,), {}), ("operator:truth", (), {})]
    assert same([row.arguments for row in rows[1:]], asked)


def test_what_the_user_changes_afterwards_is_recorded_as_it_was(path: Path) -> None:
    with opened("Pendulum-v1") as env:
        gym_service.record_trace(env, path, full=True)
        observation, _ = env.reset(seed=1)
        first = observation.copy()
        observation[:] = 9
        action = np.array([0.5], np.float32)
        env.step_async(action)
        action[:] = 2
        env.step_wait()
    rows = rows_of(path)
    assert rows[0].results is not None
    assert same(rows[0].results[0], first)
    assert same(rows[1].arguments, (np.array([0.5], np.float32),))


def test_what_the_simulator_raises_is_part_of_the_trace(path: Path) -> None:
    with misbehaving() as env:
        gym_service.record_trace(env, path)
        env.reset(seed=1)
        env.misbehave("step", "ValueError")
        with pytest.raises(EnvValueError):
            env.step(1)
        env.step(1)
        with pytest.raises(gym_service.errors.CannotCross):
            env.step(threading.Lock())  # this step was never sent
    rows = rows_of(path)
    assert [(row.call, row.raised) for row in rows] == [
        ("reset", ""),
        ("call", ""),
        ("step", "ValueError: no such thing"),
        ("step", ""),
    ]


def test_a_crash_ends_the_trace_with_the_call_in_which_it_came(path: Path) -> None:
    with misbehaving() as env:
        gym_service.record_trace(env, path)
        env.reset(seed=1)
        env.misbehave("step", "os._exit")
        with pytest.raises(ServerCrashed):
            env.step(2)
        with pytest.raises(ClosedError):
            env.step(1)
    last = rows_of(path)[-1]
    assert (last.call, last.arguments, last.ended.partition(":")[0]) == ("step", (2,), "ServerCrashed")


def test_a_restart_is_recorded(path: Path) -> None:
    with misbehaving(restart="on-reset") as env:
        gym_service.record_trace(env, path)
        env.reset(seed=1)
        os.kill(env.pid(), signal.SIGKILL)
        with pytest.raises(ServerCrashed):
            env.step(1)
        env.reset(seed=2)
    assert [row.call for row in rows_of(path)] == ["reset", "call", "step", "restart", "reset"]


def test_two_threads_are_recorded_in_the_order_of_the_simulator(path: Path) -> None:
    with misbehaving() as env:
        gym_service.record_trace(env, path, full=True)
        env.reset(seed=1)
        threads = [threading.Thread(target=lambda: [env.step(1) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    counts = [row.results[4]["count"] for row in rows_of(path)[1:] if row.results]
    assert counts == list(range(1, 201))


@pytest.mark.parametrize("ending", ["close", "forget", "exit", "exception"])
def test_the_file_is_whole_however_the_env_ends(tmp_path: Path, ending: str) -> None:
    program = f"""
import sys, gym_service
env = gym_service.make("CartPole-v1", python={str(TARGETS["py312-gymnasium14"].python())!r})
env = gym_service.record_trace(env, "run.trace")
env.reset(seed=1)
for _ in range(5):
    env.step(1)
if {ending!r} == "close": env.close()
if {ending!r} == "forget": del env
if {ending!r} == "exception": 1 / 0
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [REPOSITORY, REPOSITORY / "launcher"]))}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == (ending == "exception"), done.stderr
    assert os.listdir(tmp_path) == ["run.trace"]
    assert len(rows_of(tmp_path / "run.trace")) == 6


def test_a_forked_child_writes_nothing(path: Path) -> None:
    with opened("CartPole-v1") as env:
        gym_service.record_trace(env, path)
        env.reset(seed=1)
        env.step(1)
        if (child := os.fork()) == 0:
            try:
                env.close()
                gc.collect()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert not path.exists()
        env.step(1)
    assert len(rows_of(path)) == 3


def test_a_copy_of_a_recorded_env_is_refused(path: Path) -> None:
    with opened("CartPole-v1") as bare:
        env = gym_service.record_trace(bare, path)
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            copy.deepcopy(env)
        with pytest.raises(ValueError, match="observed already"):
            gym_service.record_trace(env, path.with_name("other.trace"))
        env.close()
    assert os.listdir(path.parent) == ["run.trace"]


def test_only_a_single_env_of_gym_service_is_recorded(path: Path) -> None:
    with pytest.raises(TypeError, match=r"CartPole.* is no single env of gym-service"):
        gym_service.record_trace(gymnasium.make("CartPole-v1").unwrapped, path)
    assert not path.exists()


def test_a_path_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    with opened("CartPole-v1") as env:
        with pytest.raises(
            TraceError, match=r"cannot be written: No such file or directory\n  try: mkdir -p .*/missing"
        ):
            gym_service.record_trace(env, tmp_path / "missing/run.trace")
        with pytest.raises(TraceError, match="Is a directory"):
            gym_service.record_trace(env, tmp_path)
        env.reset(seed=1)
    assert not os.listdir(tmp_path)


def test_a_full_disk_ends_the_trace_and_not_the_training(path: Path) -> None:
    """RLIMIT_FSIZE stands for the full disk: a write beyond it fails with another error, "File too large"."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with opened("Camera-v0", "camera_env") as bare:
            env = gym_service.record_trace(bare, path, full=True)
            with pytest.warns(RuntimeWarning, match=r"the trace ends here: .*run.trace cannot be written: File too"):
                [env.reset(seed=seed) for seed in range(50)]  # zlib decides how much is written at a time
            env.reset(seed=2)
            with pytest.raises(TraceError, match="File too large"):
                env.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert not os.listdir(path.parent)


def test_the_file_has_the_mode_of_any_new_file(path: Path) -> None:
    before = os.umask(0o027)
    try:
        with opened("CartPole-v1") as env:
            gym_service.record_trace(env, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_killed_client_leaves_what_it_had_recorded_so_far(tmp_path: Path) -> None:
    """Everything written before the last few seconds can be read, up to the place where the file ends."""
    program = f"""
import time, gym_service
from gym_service.traces import trace_file
trace_file.FLUSH_S = 0.0
env = gym_service.make("CartPole-v1", python={str(TARGETS["py312-gymnasium14"].python())!r})
env = gym_service.record_trace(env, "run.trace")
env.reset(seed=1)
for _ in range(5):
    env.step(1)
print("played", flush=True)
time.sleep(600)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [REPOSITORY, REPOSITORY / "launcher"]))}
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environ, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"played\n"
        client.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".run.trace.")
    with TraceReader(left) as reader:
        rows = iter(reader)
        assert [next(rows).call for _ in range(6)] == ["reset"] + ["step"] * 5
        with pytest.raises(TraceError, match="is cut off after 6 calls"):
            next(rows)
