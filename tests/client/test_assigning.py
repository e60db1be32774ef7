"""Reading and assigning attributes of a remote env, where the simulator's names and gym-service's could collide."""

import sys
from collections.abc import Iterator

import pytest

import gym_service
from gym_service.errors import AttributeCannotCross, CannotCross


@pytest.fixture
def env() -> Iterator[gym_service.RemoteEnv]:
    with gym_service.make("CartPole-v1", python=sys.executable, render_mode="rgb_array") as made:
        made.reset(seed=1)
        yield made


def test_a_private_name_is_refused_and_not_kept_here(env: gym_service.RemoteEnv) -> None:
    with pytest.raises(AttributeError, match=r"_freeze_rand_vec.*private to the simulator"):
        env._freeze_rand_vec = False
    assert not hasattr(env, "_freeze_rand_vec")
    with pytest.raises(AttributeError, match="_freeze_rand_vec"):
        env.set_wrapper_attr("_freeze_rand_vec", False)


def test_what_cannot_cross_is_not_there_for_who_probes(env: gym_service.RemoteEnv) -> None:
    env.render()
    assert not hasattr(env, "surf")
    assert getattr(env, "surf", 7) == 7
    with pytest.raises(AttributeCannotCross, match=r"\$\.surf.*pygame\.surface\.Surface") as caught:
        _ = env.surf
    assert isinstance(caught.value, CannotCross)
    assert caught.value.path == "$.surf"
    assert env.gravity == 9.8


def test_the_spec_says_what_the_simulators_says(env: gym_service.RemoteEnv) -> None:
    assert env.spec is not None
    assert (env.spec.max_episode_steps, env.spec.reward_threshold) == (500, 475.0)


@pytest.mark.parametrize("limit", [-1, 3])
def test_a_limit_of_minus_one_is_none(limit: int) -> None:
    with gym_service.make("Pendulum-v1", python=sys.executable, max_episode_steps=limit) as env:
        env.reset(seed=0)
        ends = [env.step(env.action_space.sample())[3] for _ in range(250)]
        assert any(ends) == (limit > 0)
        assert env.unwrapped._max_episode_steps == (None if limit < 0 else limit)


def test_a_name_of_ours_that_the_simulator_has_too(env: gym_service.RemoteEnv) -> None:
    pid = env.target["pid"]
    assert env.get_wrapper_attr("target")["pid"] == pid  # the simulator has no such attribute
    assert env.set_wrapper_attr("gravity", 3.0)
    env.call("builtins:setattr", "target", [1, 2])
    assert env.target["pid"] == pid
    assert env.get_wrapper_attr("target") == [1, 2]
    assert env.set_wrapper_attr("target", [3])
    assert env.get_wrapper_attr("target") == [3]
    assert env.target["pid"] == pid
    assert env.get_wrapper_attr("step_wait").__name__ == "step_wait"
