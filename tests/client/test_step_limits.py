"""The time limit of an episode: in the entry, in service= and in gym.make."""

import gymnasium as gym
import pytest
from support.registered import WriteEnvs, entry, play_to_the_end


@pytest.mark.parametrize("limit", [7, 560])
def test_a_limit_in_the_entry_and_in_service_shortens_and_lengthens(write_envs: WriteEnvs, limit: int) -> None:
    write_envs(entry("Pole-v0") + entry("Limited-v0", f"max_episode_steps = {limit}"))
    for env in (
        gym.make("gym_service/Limited-v0"),
        gym.make("gym_service/Pole-v0", service={"max_episode_steps": limit}),
    ):
        with env:
            assert env.spec.max_episode_steps == limit
            assert play_to_the_end(env) == (limit, False, True)


def test_a_limit_given_to_gym_make_shortens(write_envs: WriteEnvs) -> None:
    write_envs(entry("Pole-v0"))
    with gym.make("gym_service/Pole-v0", max_episode_steps=5) as env:
        assert env.spec.max_episode_steps == 5
        assert play_to_the_end(env) == (5, False, True)


def test_gym_makes_own_limit_cannot_lengthen_and_the_spec_of_the_env_inside_says_so(write_envs: WriteEnvs) -> None:
    write_envs(entry("Pole-v0", "max_episode_steps = 5"))
    with gym.make("gym_service/Pole-v0", max_episode_steps=9) as env:
        assert env.unwrapped.spec is not None
        assert env.unwrapped.spec.max_episode_steps == 5
        env.reset(seed=1)
        ends = [env.step(number % 2)[3] for number in range(5)]
        assert ends == [False, False, False, False, True]
