"""``make_parallel``: a parallel env returns the same as in its own process, and a step is one round trip."""

import copy
import os
import pickle
import signal
import sys
from types import FrameType

import numpy as np
import pytest
from support import plays
from support.agents import TARGET, in_process, opened, played, task

import gym_service
from gym_service import errors

import pettingzoo  # isort: skip - the line before skips this module if it is missing

TEAM = "several_agents:Team"
PLAIN = "several_agents:plain_team"
TASKS = {
    "rewards of many types": task("parallel", TEAM, kwargs={"render_mode": "rgb_array"}, render_every=7),
    "what fits the packed form": task("parallel", PLAIN),
    "large observations": task("parallel", PLAIN, 30, kwargs={"size": 3000}),
    "agents that are no texts": task("parallel", TEAM, kwargs={"names": [1, 2, 3]}),
}


@pytest.mark.parametrize("transport", ["unix", "stdio"])
@pytest.mark.parametrize("name", TASKS)
def test_it_gives_what_it_gives_in_its_own_process(name: str, transport: str) -> None:
    ours = played(TASKS[name], transport=transport)
    plays.assert_same(ours, in_process([TASKS[name]])[0])


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym025", "py310-gymnasium029"])
def test_on_older_pythons_too(target: str) -> None:
    found = TASKS["rewards of many types"]
    plays.assert_same(played(found, target), in_process([found], target)[0])


def test_it_is_a_parallel_env_of_pettingzoo() -> None:
    with opened("parallel", TEAM, kwargs={"render_mode": "rgb_array"}) as env:
        assert isinstance(env, pettingzoo.ParallelEnv)
        assert isinstance(env, gym_service.RemoteParallelEnv)
        assert env.unwrapped is env
        assert env.possible_agents == ["red", "green", "blue"]
        assert env.max_num_agents == 3
        assert env.metadata == {"name": "team_v0", "render_modes": ["rgb_array"], "words": ("a", 1)}
        assert (env.render_mode, str(env)) == ("rgb_array", "team_v0")
        assert env.observation_space("green") is env.observation_space("green")
        assert env.observation_space("green").shape == (5,)
        assert env.action_space("blue").n == 5
        assert list(env.observation_spaces) == list(env.action_spaces) == env.possible_agents
        assert env.state_space.shape == (3,)
        with pytest.raises(AttributeError):
            env.agents  # as in its own process: none exist before the first reset
        observations, _ = env.reset(seed=3)
        assert env.agents == list(observations)
        assert env.num_agents == 3
        assert np.array_equal(env.state(), [0, 3, 0.5])
        assert env.render().shape == (8, 8, 3)


def test_names_with_dots_lead_into_the_simulators_objects() -> None:
    with opened("parallel", TEAM) as env:
        assert env.call("possible_agents.index", "blue") == 2
        assert env.call("_observation_spaces.get", "nobody") is None
        with pytest.raises(AttributeError, match="nothing"):
            env.call("possible_agents.nothing")
        assert not hasattr(env, "_observation_spaces")


def test_a_step_is_one_round_trip() -> None:
    for entry_point in (TEAM, PLAIN):
        with opened("parallel", entry_point) as env:
            env.reset(seed=1)
            before = env._remote._connection.last_id
            for _ in range(3):
                env.step(dict.fromkeys(env.agents, 0))
                env.num_agents, env.metadata, env.possible_agents, env.action_space("red")
            assert env._remote._connection.last_id == before + 3


@pytest.mark.filterwarnings("ignore:.*several_agents.Uncrossable")
def test_options_infos_and_what_cannot_cross() -> None:
    with opened("parallel", TEAM) as env:
        _, infos = env.reset(seed=1, options={"level": (2, None)})
        assert infos["red"] == {"options": {"level": (2, None)}}
    with opened("parallel", "several_agents:Uncrossable") as env:
        env.reset()
        with pytest.warns(UserWarning, match=r"infos\['red'\]\['self'\] is a several_agents.Uncrossable"):
            infos = env.step(dict.fromkeys(env.agents, 0))[4]
        assert infos["red"]["self"].type_name == "several_agents.Uncrossable"
        with pytest.raises(errors.CannotCross, match=r"\$\.actions\['green'\]"):
            env.step({"red": 0, "green": object()})
        assert len(env.step(dict.fromkeys(env.agents, 0))) == 5


def test_infos_that_are_too_large_name_the_key_and_the_env_goes_on() -> None:
    with opened("parallel", "several_agents:talkative_team", max_message_mib=1) as env:
        env.reset(seed=1)
        actions = dict.fromkeys(env.agents, 0)
        env.step(actions)
        with pytest.raises(errors.CannotCross, match=r"\$\.infos\['red'\].*\n  try: max_message_mib = 3"):
            env.step(actions)
        assert env.step(actions)[4] == {agent: {} for agent in actions}


def test_actions_arrive_as_they_are() -> None:
    with opened("parallel", TEAM) as env:
        env.reset()
        for actions in ({"blue": 1, "red": np.int64(2)}, {"red": None}, {}, {"nobody": 7}, {"red": 1.5}):
            env.step(actions)
            found = env.unwrapped.actions
            assert list(found.items()) == list(actions.items())
            assert [type(one) for one in found.values()] == [type(one) for one in actions.values()]


def test_attributes_are_the_simulators_and_agents_are_asked_for_after_a_call() -> None:
    with opened("parallel", TEAM) as env:
        env.reset(seed=1)
        assert env.lives == 5
        env.lives = 3
        assert env.unwrapped.lives == 3
        assert env.sum_of(2, two=3) == 5
        assert env.call("sum_of", 4) == 4
        env.retire("green")
        assert env.agents == ["red", "blue"]
        assert hasattr(env, "count")
        assert not hasattr(env, "no_such_thing")
        assert not hasattr(env, "_observation_spaces")
        with pytest.raises(AttributeError, match="private"):
            env._own = 1
        with pytest.raises(KeyError, match="not there"):
            env.fail("not there")
        with pytest.raises(KeyError):
            env.observation_space("nobody")
        assert len(env.step({})) == 5


def test_a_space_that_changes_is_seen_after_the_reset() -> None:
    with opened("parallel", PLAIN) as env:
        env.reset(seed=1)
        known = env.observation_space("green")
        env.widen()
        env.reset(seed=1)
        assert env.observation_space("red").shape == (9,)
        assert env.observation_space("green") is known
        observations = env.step(dict.fromkeys(env.agents, 1))[0]
        assert (observations["red"].shape, observations["red"].dtype) == ((9,), np.float64)
        assert env.observation_space("red").contains(observations["red"])


@pytest.mark.parametrize("at", ["await_frame", "decode", "_keep_spaces", "_compile", "compile_call", "take"])
def test_a_reset_that_was_interrupted_changes_the_spaces_too(at: str) -> None:
    """The interrupt comes when a function of the client is called, after the reset was sent."""

    def trace(frame: FrameType, event: str, arg: object) -> None:
        if frame.f_code.co_name == at and frame.f_globals["__name__"].startswith("gym_service."):
            sys.settrace(None)
            raise TimeoutError("the user's own")

    with opened("parallel", PLAIN) as env:
        env.reset(seed=1)
        actions = dict.fromkeys(env.possible_agents, 0)
        env.step(actions)
        env.widen()
        sys.settrace(trace)
        with pytest.raises(TimeoutError, match="the user's own"):
            env.reset(seed=2)
        for _ in range(2):
            assert env.step(actions)[0]["red"].shape == (9,)
            assert env.observation_space("red").shape == (9,)
            env.reset(seed=3)


def test_agents_that_nobody_names_beforehand() -> None:
    with opened("parallel", "several_agents:Nameless") as env:
        assert not hasattr(env, "possible_agents")
        observations, _ = env.reset(seed=1)
        assert list(observations) == env.agents == ["one", 2, (3, "three")]
        assert env.possible_agents == env.agents
        for agent in env.agents:
            assert env.observation_space(agent).contains(observations[agent])
            assert env.action_space(agent) is env.action_space(agent)
        result = env.step(dict.fromkeys(env.agents, 1))
        assert list(result[0]) == ["one", 2, (3, "three")]


def test_results_of_before_two_flags_and_of_no_known_form() -> None:
    with opened("parallel", "several_agents:TeamOfOld") as env:
        first, infos = env.reset(seed=4)
        assert infos == {agent: {} for agent in env.agents}
        again, _ = env.reset(seed=4)
        assert all(np.array_equal(first[agent], again[agent]) for agent in first)
        with pytest.raises(errors.EnvValueError, match="takes no options"):
            env.reset(options={"level": 1})
        seen = [env.step(dict.fromkeys(env.agents, 0)) for _ in range(9)]
        ends = [(result[2], result[3]) for result in seen]
        assert ends[4] == ({"red": True, "green": False, "blue": False}, dict.fromkeys(("red", "green", "blue"), False))
        assert ends[8] == (dict.fromkeys(seen[8][0], False), dict.fromkeys(seen[8][0], True))
    with opened("parallel", "several_agents:Rearranged") as env:
        env.reset()
        with pytest.raises(
            errors.EnvValueError, match=r"a tuple of 3: \(dict, dict, dict\); five dicts were due"
        ) as caught:
            env.step({})
        assert "raised in the simulator" not in str(caught.value)


def test_copies_and_pickles_are_envs_of_their_own() -> None:
    with opened("parallel", TEAM) as env:
        env.reset(seed=2)
        for made in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
            try:
                assert made.possible_agents == env.possible_agents
                assert made.target["pid"] != env.target["pid"]
                made.reset(seed=2)
            finally:
                made.close()


def test_a_killed_server_is_the_error_of_single_envs_and_the_next_reset_starts_another() -> None:
    with opened("parallel", TEAM, restart="on-reset") as env:
        env.reset(seed=2)
        first = env.target["pid"]
        os.kill(first, signal.SIGKILL)
        with pytest.raises(errors.ServerCrashed) as caught:
            env.step({})
        assert "during step" in str(caught.value)
        observations, _ = env.reset(seed=2)
        assert env.target["pid"] != first
        assert list(observations) == env.agents
        assert len(env.step(dict.fromkeys(env.agents, 0))) == 5
    with opened("parallel", TEAM) as env:
        env.reset(seed=2)
        os.kill(env.target["pid"], signal.SIGKILL)
        with pytest.raises(errors.ServerCrashed):
            env.step({})
        with pytest.raises(errors.ClosedError):
            env.reset()
        env.close()
    with pytest.raises(errors.ClosedError):
        env.step({})


def test_target() -> None:
    with opened("parallel", TEAM, TARGET) as env:
        assert env.target["python"].startswith("3.12")
        assert "Team" in repr(env)
        assert "RemoteParallelEnv" in repr(env)
