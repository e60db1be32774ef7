"""``make_aec``: an AEC env returns the same as in its own process, and a turn is one round trip."""

from typing import Any

import numpy as np
import pytest
from support import plays
from support.agents import in_process, opened, played, task

import gym_service
from gym_service import errors
from gym_service.client.connection import Connection

import pettingzoo  # isort: skip - the line before skips this module if it is missing

GAME = "several_agents:Game"


def test_it_gives_what_it_gives_in_its_own_process() -> None:
    found = task("aec", GAME, 30)
    plays.assert_same(played(found), in_process([found])[0])


def test_it_is_an_aec_env_of_pettingzoo_and_a_turn_is_one_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    send_call = Connection.send_call

    def counted(self: Connection, kind: int, *rest: Any) -> None:
        calls.append(kind)
        send_call(self, kind, *rest)

    with opened("aec", GAME, kwargs={"rounds": 2}) as env:
        assert isinstance(env, pettingzoo.AECEnv)
        assert isinstance(env, gym_service.RemoteAECEnv)
        with pytest.raises(AttributeError):
            env.rewards
        with pytest.raises(AttributeError):
            env._cumulative_rewards
        env.reset()
        monkeypatch.setattr(Connection, "send_call", counted)
        turns = 0
        for agent in env.agent_iter():
            observation, reward, terminated, _, info = env.last()
            assert info is env.infos[agent]
            assert reward == env._cumulative_rewards[agent]
            assert observation[1] == env.possible_agents.index(agent)
            assert env.last(observe=False)[0] is None
            env.rewards, env.truncations, env.num_agents, env.action_space(agent)
            env.step(None if terminated else 3)
            turns += 1
        assert (turns, env.agents) == (6, [])
        assert len(calls) == turns
        monkeypatch.undo()
        assert env.log == [3, 3, 3, 3, None, None]
        assert env.observed == 6  # once per turn, as with last() in the env's own process
        env.reset()
        assert env.last() is not env.last()
        assert env.observed == 8


def test_types_of_rewards_cross_as_they_are() -> None:
    with opened("aec", GAME) as env:
        env.reset()
        env.step(0)
        assert [type(one) for one in env.rewards.values()] == [float, int]
        env.step(np.int32(1))
        assert [type(one) for one in env.rewards.values()] == [np.float32, int]
        assert type(env.log[1]) is np.int32


def test_the_turn_is_asked_for_after_a_call() -> None:
    with opened("aec", GAME) as env:
        env.reset()
        assert env.agent_selection == "player_0"
        env.skip()
        assert env._cumulative_rewards == {"player_0": 0, "player_1": 0}
        assert env.agent_selection == "player_1"
        assert env.last()[0][1] == 1
        assert env.observe("player_0")[1] == 0


def test_one_flag_of_before_two() -> None:
    with opened("aec", "several_agents:game_of_old", kwargs={"rounds": 1}) as env:
        env.reset(seed=None)
        assert env.last()[2:4] == (False, False)
        env.step(0)
        env.step(0)
        assert (env.terminations, env.truncations) == (
            {"player_0": True, "player_1": True},
            {"player_0": False, "player_1": False},
        )
        assert env.last()[2:4] == env.last()[2:4] == (True, False)


def test_errors_are_the_simulators_and_the_env_stays_usable() -> None:
    with opened("aec", GAME, kwargs={"rounds": 1}) as env:
        env.reset()
        env.step(0)
        env.step(0)
        with pytest.raises(errors.EnvValueError, match="the only valid action is None"):
            env.step(0)
        env.step(None)
        env.step(None)
        assert env.agents == []
        with pytest.raises(KeyError):
            env.last()
        env.reset()
        assert env.num_agents == 2
