"""``workers = "auto"``: the number is measured, and said."""

import logging
import os
import pickle
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from support.paths import ENVS
from support.procfs import exists
from support.same import same
from support.vector_play import PYTHONPATH, actions_for, played, remote

import gym_service
from gym_service.errors import ConfigError
from gym_service.factory.worker_choice import Costs, best, predicted_s

PROCESSORS = len(os.sched_getaffinity(0))
MS = 1e-3


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """What was said of the choice so far."""
    caplog.set_level(logging.INFO, logger="gym_service")
    return lambda: [text for text in caplog.messages if text.startswith("workers = ")]


def workers_of(envs: gym_service.RemoteVectorEnv) -> int:
    return len({target["pid"] for target in envs.targets})


def test_an_env_that_takes_milliseconds_has_a_worker_for_each_processor(said: Any) -> None:
    with remote("Steady-v0", 8, "steady", kwargs={"ms": 8}, workers="auto") as envs:
        expected = min(8, PROCESSORS)
        assert workers_of(envs) == expected
        (text,) = said()
        assert text.startswith(f'workers = "auto" is {expected} here: ')
        if PROCESSORS > 1:
            assert f"({expected} processors)" in text


def test_an_env_that_takes_microseconds_has_one_worker(said: Any) -> None:
    with remote("Steady-v0", 2, "steady", workers="auto") as envs:
        assert workers_of(envs) == 1
        assert said()[0].startswith('workers = "auto" is 1 here: ')


def test_no_value_depends_on_the_choice() -> None:
    with remote("CartPole-v1", 3, workers=1) as one, remote("CartPole-v1", 3, workers="auto") as chosen:
        actions = actions_for(one, 30)
        assert same(played(chosen, actions), played(one, actions))


ONE_PROCESSOR = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import gym_service
keys = {"python": sys.executable, "pythonpath": [sys.argv[1]], "imports": ["steady"], "kwargs": {"ms": 5}}
envs = gym_service.make_vec("Steady-v0", 4, workers="auto", **keys)
print([target["processors"] for target in envs.targets])
envs.close()
"""


def test_one_processor_is_one_worker() -> None:
    """A program of its own, since servers inherit this from the guardian."""
    program = [sys.executable, "-c", ONE_PROCESSOR, str(ENVS)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[1]\n"
    assert done.stderr == 'workers = "auto" is 1 here: the simulator may use one processor\n'


@pytest.mark.parametrize("call", ["reset", "step"])
def test_an_env_that_raises_while_it_is_measured_has_one_worker_and_is_made(said: Any, call: str) -> None:
    with remote("Steady-v0", 4, "steady", kwargs={"fails": call}, workers="auto") as envs:
        assert workers_of(envs) == 1
        (text,) = said()
        assert text.startswith('workers = "auto" is 1 here: the measurement failed: ')
        assert text.endswith(f"RuntimeError: no {call} today")


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"actions": "own"}, "NotImplementedError: only the simulator has the class steady.OwnSpace"),
        ({"actions": "widest"}, "OverflowError: "),
        ({"fails": "exit"}, "ServerCrashed: "),
    ],
)
def test_an_env_that_cannot_be_measured_has_one_worker_and_is_made(said: Any, kwargs: Any, reason: str) -> None:
    with remote("Steady-v0", 4, "steady", kwargs=kwargs, workers="auto") as envs:
        assert workers_of(envs) == 1
        envs.reset()
        (text,) = said()
        assert text.startswith('workers = "auto" is 1 here: the measurement failed: ' + reason)
        assert "\n" not in text


def test_an_env_that_cannot_be_made_is_its_own_error(said: Any) -> None:
    with (
        pytest.raises(RuntimeError, match="no make today"),
        remote("Steady-v0", 4, "steady", kwargs={"fails": "make"}, workers="auto"),
    ):
        pass
    assert said() == []


@pytest.mark.parametrize("workers", [2, "auto"])
def test_the_number_of_envs_may_be_an_integer_of_numpy(workers: Any) -> None:
    with remote("Steady-v0", np.int64(2), "steady", workers=workers) as envs:  # type: ignore[arg-type]
        assert type(envs.num_envs) is int
        assert envs.reset()[0].shape == (2, 1)
    for wrong in ("3", 2.0, None):
        with pytest.raises(ValueError, match="a number of envs is an integer"):
            gym_service.make_vec("CartPole-v1", wrong, python=sys.executable, workers=workers)


def test_one_env_is_not_measured(said: Any) -> None:
    with remote("Steady-v0", 1, "steady", workers="auto") as envs:
        assert workers_of(envs) == 1
        assert said() == []


def test_an_environ_of_each_env_needs_a_worker_of_each_env(said: Any) -> None:
    with remote("Steady-v0", 3, "steady", environ={"PORT": "{index+5000}"}, workers="auto") as envs:
        assert workers_of(envs) == 3
        assert said() == ['workers = "auto" is 3 here: environ differs between the envs']


def test_the_envs_that_were_measured_are_gone(said: Any, tmp_path: Path) -> None:
    """Each process that imports the module leaves its number in a file."""
    (tmp_path / "noted.py").write_text(
        f"import os, steady\nos.close(os.open({str(tmp_path)!r} + '/%d.pid' % os.getpid(), os.O_CREAT | os.O_WRONLY))\n"
    )
    keys = {"pythonpath": [*PYTHONPATH, str(tmp_path)], "kwargs": {"ms": 8}}
    with remote("Steady-v0", 2, "noted", workers="auto", **keys) as envs:
        seen = {int(path.stem) for path in tmp_path.glob("*.pid")}
        mine = {target["pid"] for target in envs.targets}
        assert mine < seen
        assert not [pid for pid in seen - mine if exists(pid)]


def test_an_entry_and_make_vec_of_gymnasium_take_it(said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'python = "{sys.executable}"\nid = "CartPole-v1"\n'
    (tmp_path / "envs.toml").write_text(f'[envs.Auto-v0]\n{text}workers = "auto"\n[envs.One-v0]\n{text}')
    gym_service.use(tmp_path / "envs.toml")
    monkeypatch.chdir(tmp_path)
    for given in ({"id": "gym_service/Auto-v0"}, {"id": "gym_service/One-v0", "workers": "auto"}):
        before = len(said())
        with closing(gym.make_vec(num_envs=2, **given)) as envs:  # type: ignore[arg-type]
            assert len(said()) == before + 1
            pickle.loads(pickle.dumps(envs)).close()
            assert len(said()) == before + 2, "the copy is measured where it is made"
    single = gym.make("gym_service/Auto-v0")  # which ignores the key
    single.close()


@pytest.mark.parametrize("value", ["all", "2", True, 0, 1.5, np.array(["auto"])])
def test_any_other_value_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="workers"):
        gym_service.make_vec("CartPole-v1", 2, python=sys.executable, workers=value)


@pytest.mark.parametrize(
    ("costs", "num_envs", "processors", "expected"),
    [
        (Costs(env_s=2 * MS, call_s=0.05 * MS, worker_s=0.1 * MS), 8, 4, 4),
        (Costs(env_s=2 * MS, call_s=0.05 * MS, worker_s=0.1 * MS), 8, 64, 8),
        (Costs(env_s=2 * MS, call_s=0.05 * MS, worker_s=0.1 * MS), 5, 4, 3),  # 3 and 4 workers: two envs in the largest
        (Costs(env_s=0.01 * MS, call_s=0.05 * MS, worker_s=0.1 * MS), 8, 8, 1),
        (Costs(env_s=0.01 * MS, call_s=0.05 * MS, worker_s=0.1 * MS), 256, 8, 4),
        (Costs(env_s=2 * MS, call_s=0.05 * MS, worker_s=2 * MS), 8, 8, 2),  # they disturb each other
        (Costs(env_s=0.0, call_s=0.0, worker_s=0.0), 8, 8, 1),
    ],
)
def test_the_least_number_with_nearly_the_shortest_step(
    costs: Costs, num_envs: int, processors: int, expected: int
) -> None:
    assert best(costs, num_envs, processors) == expected
    shortest = min(predicted_s(costs, num_envs, each) for each in range(1, min(num_envs, processors) + 1))
    assert predicted_s(costs, num_envs, expected) <= 1.11 * shortest
