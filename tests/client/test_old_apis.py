"""What the old APIs cannot do gives an error that says so; everything else is converted."""

from typing import Any

import numpy as np
import pytest
from support.opened import TARGET, opened

from gym_service import errors

OLD = ("py36-gym021", "py38-gym025")
# Old envs also run under today's libraries.
EVERYWHERE = (*OLD, "py38-gym026", "py310-gymnasium029", TARGET)
AN_OBSERVATION = {"reset": "an observation", "step": "four"}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Future gym versions")


def older(target: str, entry_point: str = "OlderEnv", **kwargs: Any) -> Any:
    return opened("an env of old", target=target, entry_point=f"older:{entry_point}", kwargs=kwargs)


@pytest.mark.parametrize("target", EVERYWHERE)
def test_env_seed_is_called_where_there_is_a_seed_and_only_there(target: str) -> None:
    with older(target) as env:
        observation, info = env.reset(seed=5)
        assert info == {}
        assert np.array_equal(observation, np.random.RandomState(5).random_sample(2))
        again, _ = env.reset()
        assert not np.array_equal(observation, again)
        assert env.seeds == [5]


@pytest.mark.parametrize("target", EVERYWHERE)
def test_options_are_refused_and_none_and_an_empty_dict_pass(target: str) -> None:
    with older(target) as env:
        env.reset(options=None)
        env.reset(options={})
        with pytest.raises(errors.EnvValueError, match="takes no options") as caught:
            env.reset(options={"goal": 1})
        assert type(caught.value) is errors.ApiMismatch
        assert "this env is of gym" in str(caught.value)
        assert "raised in the simulator" not in str(caught.value)
        assert "goal" in str(caught.value)
        assert len(env.step(0)) == 5


@pytest.mark.parametrize("target", [*OLD, "py38-gym026", TARGET])
@pytest.mark.parametrize("by_the_clock", [False, True])
def test_four_values_of_a_step_are_five(target: str, by_the_clock: bool) -> None:
    """Whatever the version: the form of the tuple decides."""
    with older(target, by_the_clock=by_the_clock) as env:
        env.reset()
        assert env.step(0)[1:] == (1.0, False, False, {})
        env.step(0)
        flags = env.step(0)[2:]
    info = {"TimeLimit.truncated": True} if by_the_clock else {}
    assert flags == (not by_the_clock, by_the_clock, info)
    assert [type(flag) for flag in flags[:2]] == [bool, bool]


@pytest.mark.parametrize("target", EVERYWHERE)
def test_the_render_mode_is_asked_for_in_each_render(target: str) -> None:
    with older(target, render_mode="ansi") as env:
        env.reset()
        assert env.render() == "as ansi"
        assert env.render_mode == "ansi"
        assert env.metadata["render_modes"] == ["rgb_array", "ansi"]
        assert env.metadata["render_fps"] == 7
    with older(target) as env, pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("entry_point", ["older:made_of_old", "odd_forms:BareSpacesEnv"])
def test_what_makes_an_old_env_may_take_no_render_mode(entry_point: str, target: str) -> None:
    """A function without it, and a class without its own __init__, whose signature seems to take anything."""
    with opened("an env of old", target=target, entry_point=entry_point, render_mode="ansi") as env:
        env.reset()
        assert env.render() == "as ansi"
        assert env.render_mode == "ansi"


@pytest.mark.parametrize("target", EVERYWHERE[:-1])
def test_a_registered_env_of_old_renders_and_is_seeded(target: str) -> None:
    """The wrappers of Gymnasium 1.0 and up call reset() with a seed, and refuse such an env in-process too."""
    with opened("BareSpaces-v0", "odd_forms", target, render_mode="ansi") as env:
        env.reset()
        assert env.render() == "as ansi"
    with opened("Odd-v0", "odd_forms", target, max_episode_steps=-1, kwargs=AN_OBSERVATION) as env:
        observation, info = env.reset(seed=5)
        assert np.array_equal(observation, np.array([0.5, -0.5], np.float32))
        assert info == {}
        assert env.seeds == [5]
        assert env.step(0)[2:] == (False, False, {"a": 1})


@pytest.mark.parametrize("target", ["py38-gym026", "py310-gymnasium029"])
def test_the_librarys_own_conversion_is_a_keyword_away(target: str) -> None:
    """TimeLimit of these versions takes only five values: in-process such an env needs the same keyword."""
    kwargs = {**AN_OBSERVATION, "apply_api_compatibility": True}
    with opened("Odd-v0", "odd_forms", target, render_mode="ansi", kwargs=kwargs) as env:
        assert env.reset(seed=5)[1] == {}
        assert [env.step(0)[3] for _ in range(3)] == [False, False, True]
        assert env.render() == "as ansi"


def test_an_env_of_today_that_takes_no_render_mode_says_so() -> None:
    """As in its own process: if no render() takes the mode either, dropping it would be wrong."""
    with (
        pytest.raises(errors.EnvTypeError, match="got an unexpected keyword argument 'render_mode'"),
        opened("an odd env", entry_point="odd_forms:ModelessEnv", render_mode="ansi"),
    ):
        pass


@pytest.mark.parametrize("target", ["py38-gym026", TARGET])
def test_an_env_that_cannot_be_seeded_says_so_and_where_it_can_be(target: str) -> None:
    with opened("an odd env", target=target, entry_point="odd_forms:UnseededEnv") as env:
        env.reset()
        with pytest.raises(errors.ApiMismatch, match=r"cannot be seeded(.|\n)*kwargs = \{ rand_seed = 5 \}"):
            env.reset(seed=5)
        env.reset()
    with opened("an odd env", target=target, entry_point="odd_forms:SeedlessEnv") as env:
        with pytest.raises(
            errors.ApiMismatch, match=r"its seed\(\) takes none either(.|\n)*kwargs = \{ rand_seed = 5 \}"
        ):
            env.reset(seed=5)
        env.reset()


def test_a_seed_of_the_base_class_does_what_it_does_in_process() -> None:
    """In gym 0.21 it does nothing."""
    with opened("an odd env", target="py36-gym021", entry_point="odd_forms:UnseededEnv") as env:
        env.reset(seed=5)


@pytest.mark.parametrize("target", ["py36-gym021", TARGET])
def test_what_a_wrapper_of_the_users_takes_decides(target: str) -> None:
    """The parameters of the env inside do not matter."""
    wrappers = ["older:Modern"]
    with opened("an env of old", target=target, entry_point="older:OlderEnv", wrappers=wrappers) as env:
        observation, info = env.reset(seed=5, options={"goal": 1})
        assert info == {"options": {"goal": 1}}
        assert np.array_equal(observation, np.random.RandomState(5).random_sample(2))


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


@pytest.mark.parametrize("target", OLD)
def test_what_reset_returns_decides_where_an_older_library_has_a_reset_of_today(target: str) -> None:
    with older(target, "NoReturnInfoEnv") as env:
        observation, info = env.reset(seed=5, options={"goal": 1})
        assert info == {}
        assert np.array_equal(observation, np.random.RandomState(5).random_sample(2))
        assert env.options == [{"goal": 1}]
        assert len(env.step(0)) == 5


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
