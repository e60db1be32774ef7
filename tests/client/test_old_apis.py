"""What the old APIs cannot do is an error that says so; all else is evened out."""

from typing import Any

import numpy as np
import pytest
from support.opened import TARGET, opened

from gym_service import errors

OLD = ("py36-gym021", "py38-gym025")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Future gym versions")


def older(target: str, entry_point: str = "OlderEnv", **kwargs: Any) -> Any:
    return opened("an env of old", target=target, entry_point=f"older:{entry_point}", kwargs=kwargs)


@pytest.mark.parametrize("target", OLD)
def test_env_seed_is_called_where_there_is_a_seed_and_only_there(target: str) -> None:
    with older(target) as env:
        observation, info = env.reset(seed=5)
        assert info == {}
        assert np.array_equal(observation, np.random.RandomState(5).random_sample(2))
        again, _ = env.reset()
        assert not np.array_equal(observation, again)
        assert env.seeds == [5]


@pytest.mark.parametrize("target", OLD)
def test_options_are_refused_and_none_and_an_empty_dict_pass(target: str) -> None:
    with older(target) as env:
        env.reset(options=None)
        env.reset(options={})
        with pytest.raises(errors.EnvValueError, match="takes no options") as caught:
            env.reset(options={"goal": 1})
        assert "gym 0.2" in str(caught.value)
        assert "goal" in str(caught.value)
        assert len(env.step(0)) == 5


@pytest.mark.parametrize("target", [*OLD, "py38-gym026", TARGET])
@pytest.mark.parametrize("by_the_clock", [False, True])
def test_four_values_of_a_step_are_five(target: str, by_the_clock: bool) -> None:
    """Whatever the version: the tuple decides."""
    with older(target, by_the_clock=by_the_clock) as env:
        env.reset()
        assert env.step(0)[1:] == (1.0, False, False, {})
        env.step(0)
        flags = env.step(0)[2:]
    info = {"TimeLimit.truncated": True} if by_the_clock else {}
    assert flags == (not by_the_clock, by_the_clock, info)
    assert [type(flag) for flag in flags[:2]] == [bool, bool]


@pytest.mark.parametrize("target", OLD)
def test_the_render_mode_is_asked_for_in_each_render(target: str) -> None:
    with older(target, render_mode="ansi") as env:
        env.reset()
        assert env.render() == "as ansi"
        assert env.render_mode == "ansi"
        assert env.metadata["render_modes"] == ["rgb_array", "ansi"]
        assert env.metadata["render_fps"] == 7
    with older(target) as env, pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None


@pytest.mark.parametrize("entry_point", ["OlderEnv", "made_of_old"])
def test_an_env_of_today_that_takes_no_render_mode_says_so(entry_point: str) -> None:
    """As it would in its own process: where nothing renders in another way, a mode that is dropped is a lie."""
    with (
        pytest.raises(errors.EnvTypeError, match="got an unexpected keyword argument 'render_mode'"),
        older(TARGET, entry_point, render_mode="ansi"),
    ):
        pass
    with older("py38-gym025", entry_point, render_mode="ansi") as env:
        env.reset()
        assert env.render() == "as ansi"


@pytest.mark.parametrize("target", ["py36-gym021", TARGET])
@pytest.mark.parametrize("result", ["error", None, {1, 2, 3, 4, 5}])
def test_a_step_that_gives_no_tuple_is_told_as_gymnasium_tells_it(target: str, result: Any) -> None:
    with older(target, "OtherEnv", result=result) as env:
        env.reset()
        kind = type(result).__name__
        with pytest.raises(AssertionError, match=f"Expects step result to be a tuple, actual type: <class '{kind}'>"):
            env.step(0)


def test_between_021_and_026_reset_is_given_what_it_takes() -> None:
    with older("py38-gym025", "BetweenEnv") as env:
        observation, info = env.reset(seed=5, options={"goal": 1})
        assert info == {"options": {"goal": 1}}
        assert np.array_equal(observation, np.random.RandomState(5).random_sample(2))
        assert env.seeds == []
    with older("py38-gym025", "SeedOnlyEnv") as env:
        observation, info = env.reset(seed=5)
        assert info == {}
        assert np.array_equal(observation, np.random.RandomState(5).random_sample(2))
        with pytest.raises(errors.EnvValueError, match="takes no options"):
            env.reset(options={"goal": 1})


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym025", "py38-gym026", TARGET])
def test_an_env_that_inherits_from_nothing(target: str) -> None:
    with older(target, "BareEnv") as env:
        observation, info = env.reset(seed=1)
        assert np.array_equal(observation, np.zeros(1))
        assert info == {}
        assert env.step(0)[1:] == (0.5, True, False, {})
        assert env.metadata == {}


@pytest.mark.parametrize("target", ["py36-gym021", TARGET])
def test_a_limit_that_a_spec_claims_and_nobody_applies_is_none(target: str) -> None:
    def stated(**keys: int) -> int | None:
        with opened("an env of old", target=target, entry_point="older:ClaimingEnv", **keys) as env:
            return env.get_wrapper_attr("_max_episode_steps")

    assert stated() is None
    assert stated(max_episode_steps=7) == 7


@pytest.mark.parametrize(
    ("target", "entry_point", "takes_options"),
    [
        ("py36-gym021", "OlderEnv", False),
        ("py38-gym025", "BetweenEnv", True),
        ("py38-gym025", "SeedOnlyEnv", False),
        (TARGET, "BetweenEnv", True),
        (TARGET, "SeedOnlyEnv", False),
        (TARGET, "AnythingEnv", True),
    ],
)
def test_whether_reset_takes_options_is_known_beforehand(target: str, entry_point: str, takes_options: bool) -> None:
    with older(target, entry_point) as env:
        assert env.target["takes_options"] is takes_options


def test_a_reset_that_demands_its_parameters_gets_them() -> None:
    with older(TARGET, "DemandingEnv") as env:
        assert env.reset()[1] == {"seed": None, "options": None}
        assert env.reset(seed=3)[1] == {"seed": 3, "options": None}
        assert env.reset(options={"goal": 1})[1] == {"seed": None, "options": {"goal": 1}}
