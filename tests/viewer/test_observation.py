"""What a viewer sees of a running env, and that the run stays the same: bit for bit, with its errors and warnings."""

import sys
import warnings
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.looking import FPS, everything, looking, records, seen
from support.paths import ENVS
from support.same import same
from support.targets import TARGETS

import gym_service
from gym_service.errors import EnvError
from gym_service.server.viewed_env import refusal_of
from gym_service.viewer.observed import ObservedServer, View

pytestmark = pytest.mark.filterwarnings("ignore:.*cannot cross:UserWarning")

STEPS = 500
VIEWED = "viewed:ViewedEnv"


def made(effect: str = "", mode: str | None = "rgb_array", **given: Any) -> Any:
    kwargs = {"effect": effect} | ({"render_mode": mode} if mode else {})
    return gym_service.make(
        "Viewed-v0", entry_point=VIEWED, pythonpath=[str(ENVS)], python=sys.executable, kwargs=kwargs, **given
    )


def run(env: Any, plan: list[Any], steps: int = STEPS, *, renders: bool = False) -> list[Any]:
    """A seeded run. ``plan`` says in which steps somebody looks: pairs of the first one and the one after the last.

    ``renders``: the trainer renders now and then, too.
    """
    env.action_space.seed(5)
    results: list[Any] = [env.reset(seed=3)]
    look: ObservedServer | None = None
    views = []
    for step in range(steps):
        if step in [begin for begin, _ in plan]:
            (server,) = records()
            look = ObservedServer(server.record, fps=FPS, count=4)
        if look and step in [end for _, end in plan]:
            views += everything(look)
            look.close()
            look = None
        results.append(env.step(env.action_space.sample()))
        if renders and step % 50 == 49:
            results.append((env.render(), 0.0, False, False, {}))
        if look:
            look.renew()
            views += everything(look)
        if results[-1][2] or results[-1][3]:
            results.append(env.reset())
    if look:
        views += everything(look)
        look.close()
    assert bool(views) == bool(plan), "nobody has seen anything"
    return results


CARTPOLE = {"id": "CartPole-v1"}
# Rendering raises an ImportError there, which must not be the run's.
CARTPOLE_OF_OLD = {"id": "CartPole-v1", "renders": False}
PLAYS = [
    pytest.param("py36-gym021", CARTPOLE_OF_OLD, id="cartpole-gym021"),
    pytest.param("py36-gym021", {"id": "Camera-v0", "imports": ["camera_env"], "steps": 130}, id="camera-gym021"),
    pytest.param("py313-gymnasium14", CARTPOLE, id="cartpole", marks=pytest.mark.long),
    pytest.param("py38-gym026", CARTPOLE, id="cartpole-gym026", marks=pytest.mark.long),
    pytest.param("py38-gym025", CARTPOLE, id="cartpole-gym025", marks=pytest.mark.long),
    pytest.param("pusht", {"id": "gym_pusht/PushT-v0", "imports": ["gym_pusht"]}, id="pusht", marks=pytest.mark.long),
    pytest.param("mujoco-3", {"id": "HalfCheetah-v5"}, id="mujoco-egl", marks=pytest.mark.long),
    pytest.param("mujoco-2", {"id": "HalfCheetah-v4"}, id="mujoco-2-egl", marks=pytest.mark.long),
    pytest.param("ale", {"id": "ALE/Pong-v5", "imports": ["ale_py"]}, id="ale", marks=pytest.mark.long),
    pytest.param(
        "minigrid", {"id": "MiniGrid-DoorKey-8x8-v0", "imports": ["minigrid"]}, id="minigrid", marks=pytest.mark.long
    ),
]


@pytest.mark.parametrize(("target", "given"), PLAYS)
def test_a_run_is_the_same_with_an_observer_without_one_and_with_one_that_comes_and_goes(
    target: str, given: dict[str, Any]
) -> None:
    given = dict(given)
    steps = given.pop("steps", STEPS)
    renders = given.pop("renders", True)
    plans: list[list[Any]] = [[], [(0, STEPS + 1)], [(40, 90), (120, 121), (125, 400)]]
    runs = []
    for plan in plans:
        where = {"python": str(TARGETS[target].python()), "pythonpath": [str(ENVS)]}
        env = gym_service.make(**{"env_id": given["id"], "render_mode": "rgb_array", **where, **_without(given, "id")})
        with env:
            runs.append(run(env, plan, steps, renders=renders))
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def _without(given: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != name}


@cache
def quiet_run() -> list[Any]:
    with made() as env:
        return run(env, [], steps=60)


@pytest.mark.parametrize(
    ("effect", "mode", "problem"),
    [
        ("", "rgb_array", ""),
        ("draws", "rgb_array", "render() draws from _np_random, so it is not called again"),
        ("blinks", "rgb_array", ""),
        ("keeps", "rgb_array", "each render() changes kept, so it is not called again"),
        ("raises", "rgb_array", "RuntimeError: no camera\n3 times in a row"),
        pytest.param("exits", "rgb_array", "SystemExit: 3\n3 times in a row", marks=pytest.mark.long),
        ("human", "rgb_array", 'its own window\n  try: render_mode="rgb_array"'),
        ("", None, 'made without a render_mode, so it has no pictures\n  try: render_mode="rgb_array"'),
        pytest.param("", "depth_array", "", marks=pytest.mark.long),
        pytest.param("draws_globally", "rgb_array", "draws from numpy.random, random, so", marks=pytest.mark.long),
        pytest.param("text", "rgb_array", "returned a str, which is no picture", marks=pytest.mark.long),
    ],
)
def test_what_a_render_does_stays_without_an_effect_on_the_run(effect: str, mode: str | None, problem: str) -> None:
    quiet = quiet_run()
    with made(effect, mode) as env, looking() as look:
        results = [env.reset(seed=3)]
        env.action_space.seed(5)
        for _ in range(60):
            look.renew()
            results.append(env.step(env.action_space.sample()))
            if results[-1][2]:
                results.append(env.reset())
        view = seen(look, lambda: env.get_wrapper_attr("count"))
        assert problem in view.facts["problem"]
        assert bool(problem) == bool(view.facts["problem"])
        assert [array.shape[:2] for array in view.arrays] == ([] if problem else [(8, 12)])
        if problem and effect in ("", "human"):
            assert env.get_wrapper_attr("renders") == 0
    assert same(results, quiet)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("rgb_array", ""),
        ("depth_array", ""),
        ("rgbd_tuple", ""),
        ("ansi", ""),
        ("rgb_array_list", "empties the list of pictures that the trainer reads"),
        ("ansi_list", "empties the list of pictures that the trainer reads"),
        ("human", "draws in its own window"),
        ("state_pixels", "is not known"),
        (None, "made without a render_mode"),
        (np.zeros(2), "its render mode is a numpy.ndarray"),
    ],
)
def test_only_modes_without_an_effect_are_rendered(mode: Any, reason: str) -> None:
    refusal = refusal_of(mode)
    assert reason in refusal
    assert bool(reason) == ('try: render_mode="rgb_array"' in refusal)


def test_a_picture_that_depends_on_those_before_is_the_same_for_the_trainer() -> None:
    def pictures(env: Any, before: Callable[[], Any]) -> list[Any]:
        env.reset(seed=1)
        shown = []
        for _ in range(4):
            before()
            shown.append(env.render())
        return shown

    with made("blinks") as env:
        expected = pictures(env, lambda: env.get_wrapper_attr("count"))
        assert [picture[0, 0, 0] for picture in expected] == [50, 100, 150, 200]
    with made("blinks") as env, looking() as look:
        assert same(pictures(env, lambda: seen(look, lambda: env.get_wrapper_attr("count"))), expected)


def test_it_shows_steps_rewards_episodes_and_the_last_info() -> None:
    with made() as env, looking() as look:
        assert seen(look, lambda: env.get_wrapper_attr("renders")).facts["problem"] == "there was no reset() yet"
        env.reset(seed=1)
        everything(look)
        views: list[View] = []
        for step in range(1, 25):
            views.append(seen(look, lambda: env.get_wrapper_attr("renders"), views))
            env.step(0)
            if step % 10 == 0:
                env.reset()
        shown = seen(look, lambda: env.step(0), views)
        views.append(shown)
    facts = shown.facts
    taken = facts["steps"]
    assert facts["episodes"] == 3
    assert facts["lengths"] == facts["returns"] == [taken - 20]
    assert facts["rewards"] == [1.0]
    assert dict(facts["info"]) == {
        "lap": repr(taken - 20),
        "unprintable": "viewed.Unprintable",
        "position": "[0.0, 1.0, 2.0]",
    }
    assert shown.arrays[0][0, 0, 0] == taken - 20
    assert [row for view in views for row in view.facts["finished"]] == [[10.0, 10, 0], [10.0, 10, 0]]


def test_an_env_that_renders_text_is_shown_as_text() -> None:
    with made(mode="ansi") as env, looking() as look:
        env.reset()
        assert seen(look, lambda: env.get_wrapper_attr("count")).facts["text"] == "step 0"


def test_the_longest_text_fits_too() -> None:
    with made("long", "ansi") as env, looking() as look:
        env.reset()
        view = seen(look, lambda: env.get_wrapper_attr("count"))
        assert view.facts["text"] == ("step 0" + "\u2588" * 30000)[:20000]


def test_an_error_of_a_step_is_the_same_while_somebody_looks() -> None:
    def error_of(env: Any) -> str:
        env.reset(seed=1)
        for _ in range(4):
            env.step(0)
        with pytest.raises(ValueError, match="the fifth step") as raised:
            env.step(0)
        assert isinstance(raised.value, EnvError)
        return str(raised.value)

    with made("fails") as env:
        expected = error_of(env)
    with made("fails") as env, looking() as look:
        assert error_of(env) == expected
        assert everything(look)


def test_a_warning_of_a_render_is_the_trainers_alone() -> None:
    with made("warns") as env, looking() as look:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env.reset()
            assert seen(look, lambda: env.get_wrapper_attr("count")).arrays
        with pytest.warns(UserWarning, match="the camera is old"):
            env.render()
        with warnings.catch_warnings():  # Python shows a warning once; the observer's renders have not changed that
            warnings.simplefilter("error")
            seen(look, lambda: env.get_wrapper_attr("count"))
            env.render()


@pytest.mark.skipif(gymnasium.__version__ < "1", reason="Gymnasium's vector envs have today's form since 1.0")
def test_a_grid_of_the_first_envs_of_a_vector_env() -> None:
    envs = gym_service.make_vec(
        "Viewed-v0",
        num_envs=4,
        workers=1,
        entry_point=VIEWED,
        pythonpath=[str(ENVS)],
        python=sys.executable,
        kwargs={"render_mode": "rgb_array"},
    )
    with looking(count=3) as look:
        envs.reset(seed=1)
        views: list[View] = []
        while not views or views[-1].facts["steps"] < 100:
            views.append(seen(look, lambda: envs.step(np.zeros(4, np.int64)), views))
        facts = views[-1].facts
        assert [array.shape for array in views[-1].arrays] == [(8, 12, 3)] * 3
        assert facts["envs"] == 4
        assert len(facts["returns"]) == 3
        finished = [row for view in views for row in view.facts["finished"]]
        assert {tuple(row[:2]) for row in finished} == {(10.0, 10)}
        assert {row[2] for row in finished} == {0, 1, 2, 3}
    envs.close()


@pytest.mark.skipif(gymnasium.__version__ < "1.1", reason="A mask selects envs for a reset since Gymnasium 1.1")
def test_a_reset_of_one_env_adds_no_step_to_another_that_begins_its_next_episode() -> None:
    where = {"pythonpath": [str(ENVS)], "python": sys.executable}
    envs = gym_service.make_vec("Viewed-v0", num_envs=2, workers=1, entry_point=VIEWED, **where)
    views: list[View] = []
    with looking(count=2) as look:
        envs.reset(seed=1)
        seen(look, lambda: envs.get_attr("count"), views)
        for step in range(1, 23):
            look.renew()
            envs.step(np.zeros(2, np.int64))
            if step == 10:  # both are at their end
                envs.reset(options={"reset_mask": np.array([True, False])})
            views += everything(look)
        views.append(seen(look, lambda: envs.get_attr("count"), views))
    envs.close()
    finished = [row for view in views for row in view.facts["finished"]]
    assert finished[-2:] == [[10.0, 10, 0], [10.0, 10, 1]]


def test_while_nobody_looks_a_step_calls_no_further_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def fewest_calls() -> int:
        with made(setup=["viewed:count_calls"]) as env:
            env.reset()
            counts = [env.get_wrapper_attr("calls")]
            for _ in range(100):
                env.step(0)
                counts.append(env.get_wrapper_attr("calls"))
        return min(after - before for before, after in pairwise(counts))

    with_record = fewest_calls()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/null/none")  # without a record nobody can look
    assert with_record == fewest_calls() > 0


@pytest.mark.long
def test_the_episodes_of_a_simulator_that_is_a_vector_env_are_those_that_the_trainer_sees() -> None:
    kwargs = {"num_envs": 3, "render_mode": "rgb_array"}
    env = gym_service.make("CartPole-v1", vectorized=True, python=sys.executable, kwargs=kwargs)
    views: list[View] = []
    expected, returns, were_over = [], np.zeros(3), np.zeros(3, bool)
    with looking() as look:
        env.reset(seed=1)
        first = [True] * 3  # the look began during the first episode of each
        for step in range(400):
            look.renew()
            _, rewards, terminated, truncated, _ = env.step(np.full(3, step % 2))
            returns = np.where(were_over, 0.0, returns + rewards)
            were_over = np.logical_or(terminated, truncated)
            for index in np.flatnonzero(were_over):
                expected += [] if first[index] else [[float(returns[index]), int(index)]]
                first[index] = False
            views += everything(look)
        views.append(seen(look, env.render, views))
    env.close()
    assert len(views[-1].arrays) == 3
    assert [[row[0], row[2]] for view in views for row in view.facts["finished"]] == expected
