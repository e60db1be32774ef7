"""Results of reset() and step() cross in their own form, with one documented conversion for the older APIs."""

from collections.abc import Sequence

import numpy as np
import pytest
from support import plays, vectors
from support.opened import TARGET, opened
from support.targets import TARGETS
from support.vector_reference import MODES

from gym_service import errors
from gym_service.testing import checks
from gym_service.testing.in_target import trajectory

OLD = ("py36-gym021", "py38-gym025", "py38-gym026", "py310-gymnasium029", TARGET)
TODAY = ("py38-gym026", "py310-gymnasium029", TARGET)
DONES = (
    "False True True_by_the_clock False_by_the_clock numpy_False numpy_True numpy_True_by_the_clock an_array_of_one "
    "an_array_of_one_by_the_clock no_dimension two_in_a_list two_in_a_list_by_the_clock two_in_an_array two_in_a_dict "
    "none_in_a_list None an_int a_text an_info_that_is_None an_info_that_is_a_list an_info_that_is_a_text "
    "an_info_with_a_get_of_its_own two_clocks a_numpy_clock a_clock_that_is_None"
)
RESETS = (
    "a_pair a_pair_with_None a_pair_with_a_list a_list_of_two an_observation an_observation_of_two_floats None nothing "
    "three a_text a_dict"
)
STEPS = (
    "five a_list_of_five four a_list_of_four three six None a_text_of_five an_observation "
    "five_without_an_info five_with_odd_flags five_by_name"
)
# Results that a SyncVectorEnv unpacks, or refuses.
VECTOR_DONES = [
    ("an observation", "four", done)
    for done in ("False", "True", "numpy True", "an array of one", "two in a list", "two in a dict", "None", "a text")
]
VECTOR_FORMS = [(reset, "five", None) for reset in ("a pair", "three", "a pair with None", "a text")]
VECTOR_FORMS += [("a pair", step, None) for step in ("three", "None", "a list of five", "five without an info")]
VECTOR_FORMS += [("a pair", step, None) for step in ("five by name", "five with odd flags", "an observation")]


def names(text: str) -> list[str]:
    return [name.replace("_", " ") for name in text.split()]


def assert_parity(target: str, entry_point: str, cases: Sequence[tuple[str, str, str | None]]) -> None:
    """Through gym-service one env returns each case in turn; in-process, each case has its own env."""
    plan = {"id": "", "imports": [], "library": "gymnasium" if "gymnasium" in target else "gym"}
    plan |= {"render_mode": None, "render_every": 0, "seed": 5, "options": trajectory.NONE}
    plan |= {"actions": [trajectory.to_data(0), trajectory.to_data(1)]}
    tasks = []
    for reset, step, done in cases:
        kwargs = {"reset": reset, "step": step, "done": done}
        tasks.append(plays.task(plan | {"kwargs": kwargs}))
        tasks[-1]["recipe"] |= {"entry_point": f"odd_forms:{entry_point}", "id": "", "api": None}
    python = TARGETS[target].python()
    script = plays.reference_run.__file__
    expected = plays.run_script(script, python, python, tasks)
    with opened("an odd env", target=target, entry_point=f"odd_forms:{entry_point}") as env:
        for case, theirs in zip(cases, expected, strict=True):
            assert not theirs["failure"], theirs["failure"]
            env.unwrapped.returned = case
            ours = [record[:4] for record in checks.remote_play(env, plan)]
            assert len(ours) >= 3, case
            plays.assert_same(ours, theirs["records"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("target", OLD)
def test_a_done_that_is_not_one_boolean_crosses_as_it_is(target: str) -> None:
    assert_parity(target, "OldEnv", [("an observation", "four", done) for done in names(DONES)])


@pytest.mark.parametrize("target", TODAY)
def test_what_an_env_of_today_returns_is_passed_on_exactly(target: str) -> None:
    cases: list[tuple[str, str, str | None]] = [(reset, "five", None) for reset in names(RESETS)]
    assert_parity(target, "TodayEnv", cases + [("a pair", step, None) for step in names(STEPS)])


@pytest.mark.parametrize("target", TODAY)
def test_what_an_env_without_options_returns_is_never_rearranged(target: str) -> None:
    assert_parity(
        target, "PlainEnv", [(reset, "five", None) for reset in ("a pair", "a pair with None", "a list of two")]
    )
    with opened("a plain env", target=target, entry_point="odd_forms:PlainEnv") as env:
        env.unwrapped.returned = ("an observation", "four", None)
        observation, info = env.reset(seed=1)
        assert np.array_equal(observation, np.array([0.5, -0.5], np.float32))
        assert info == {}


@pytest.mark.parametrize("target", OLD)
@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_observation_that_is_a_pair_of_a_value_and_a_dict_stays_one(target: str, outside: bool) -> None:
    """Also if it is outside its space: an env with its own seed() has the old API."""
    with opened("a pair", target=target, entry_point="odd_forms:PairEnv", kwargs={"outside": outside}) as env:
        (value, inner), info = env.reset(seed=2)
        assert (value, list(inner)) == (("a text", ["y"]) if outside else (1, ["x"]))
        assert info == {}
        observation, *rest = env.step(0)
        assert observation[0] == value
        assert rest == [1.0, False, False, {}]
        assert env.seeds == [2]


@pytest.mark.parametrize("target", OLD)
def test_a_form_of_no_api_is_refused_with_the_form(target: str) -> None:
    with opened("an odd env", target=target, entry_point="odd_forms:OldEnv") as env:
        env.reset()
        for step in ("three", "six", "None", "a text of five", "an observation"):
            env.unwrapped.returned = ("an observation", step, None)
            with pytest.raises(errors.ApiMismatch, match=r"step\(\) returned a ") as caught:
                env.step(0)
            assert "raised in the simulator" not in str(caught.value)
        env.unwrapped.returned = ("an observation", "four", None)
        assert len(env.step(0)) == 5


@pytest.mark.parametrize("target", ["py38-gym025", TARGET])
def test_an_info_that_was_asked_for_and_did_not_come_is_refused(target: str) -> None:
    kwargs = {"reset": "an observation of two floats"}
    with opened("an odd env", target=target, entry_point="odd_forms:AskedEnv", kwargs=kwargs) as env:
        # A list of two items counts as a pair; an array of two does not, although it has two items.
        assert env.reset() == (0.5, -0.5)
        env.unwrapped.returned = ("an observation", "four", None)
        with pytest.raises(errors.ApiMismatch, match=r"returned a value of type numpy\.ndarray; an observation and an"):
            env.reset()


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym025", "py38-gym026", TARGET])
def test_a_vector_env_says_what_a_sync_vector_env_says(target: str) -> None:
    tasks, actions = [], [[0, 1], [1, 0]]
    for entry_point, cases in (("OldEnv", VECTOR_DONES), ("TodayEnv", VECTOR_FORMS)):
        told = [("returned", case) for case in cases]
        tasks += [vectors.task(f"odd_forms:{entry_point}", mode, actions, cases=told) for mode in MODES]
    for made, theirs in zip(tasks, vectors.inside(target, tasks), strict=True):
        assert vectors.played(target, made) == theirs


def test_the_reference_for_old_interpreters_plays_as_gymnasiums_own() -> None:
    told = [("returned", case) for case in VECTOR_DONES]
    tasks = [vectors.task("odd_forms:OldEnv", mode, [[0, 1, 0]] * 3, cases=told) for mode in MODES]
    assert vectors.inside(TARGET, tasks, "loop") == vectors.inside(TARGET, tasks)
