"""Values that cross with their class or their own type: they arrive as they are in the simulator's own interpreter."""

import collections
import copy
import enum
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from support import plays, vectors
from support.opened import TARGET, opened
from support.targets import TARGETS
from support.vector_reference import MODES

from gym_service import errors
from gym_service.testing import checks
from gym_service.testing.in_target import trajectory

EVERY = ("py36-gym021", "py38-gym026", "py310-gymnasium029", TARGET)
STEPS = 60  # more than there are values


def values_env(target: str = TARGET) -> Any:
    return opened("values", target=target, entry_point="value_forms:ValuesEnv")


@pytest.mark.parametrize("target", EVERY)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_form_arrives_as_it_is_inside(target: str) -> None:
    plan = {"id": "", "imports": [], "library": "gymnasium" if "gymnasium" in target else "gym"}
    plan |= {"render_mode": None, "render_every": 0, "seed": 5, "options": trajectory.NONE, "kwargs": {}}
    plan |= {"actions": [trajectory.to_data(0)] * STEPS}
    task = plays.task(plan)
    task["recipe"] |= {"entry_point": "value_forms:ValuesEnv", "id": "", "api": None}
    python = TARGETS[target].python()
    (expected,) = plays.run_script(plays.reference_run.__file__, python, python, [task])
    assert not expected["failure"], expected["failure"]
    assert len(expected["records"]) > 3 * STEPS
    with values_env(target) as env:
        plays.assert_same([record[:4] for record in checks.remote_play(env, plan)], expected["records"])


class Mood(enum.Enum):
    CALM = "calm"
    WILD = (1, 2.5)


class Phase(enum.IntEnum):
    DONE = 2


class Access(enum.Flag):
    READ = 1


def test_a_member_equals_that_of_the_users_own_class() -> None:
    with values_env() as env:
        mood, phase, access = env.unwrapped.moods, env.unwrapped.actions, env.unwrapped.access
    for theirs, own in (
        (mood.CALM, Mood.CALM),
        (mood.WILD, Mood.WILD),
        (phase.DONE, Phase.DONE),
        (access.READ, Access.READ),
    ):
        assert theirs == own
        assert own == theirs
        assert (theirs != own) is False
        assert hash(theirs) == hash(own)
        assert {own: 1}[theirs] == 1
    assert mood.CALM != Mood.WILD
    assert mood.CALM != "calm"
    assert mood.ODD != Mood.CALM


@pytest.mark.parametrize("target", EVERY)
def test_enum_classes_and_spaces_are_read_as_what_they_are(target: str) -> None:
    with values_env(target) as env:
        actions = env.unwrapped.actions
        assert isinstance(actions, enum.EnumMeta)
        assert [(member.name, member.value) for member in actions] == [("RUNNING", 0), ("DONE", 2), ("ABORTED", 1)]
        assert list(actions.__members__) == ["RUNNING", "DONE", "ABORTED", "OVER"]
        assert actions.OVER is actions.DONE
        assert actions(1) is actions["ABORTED"] is actions.ABORTED
        assert actions.DONE + 1 == 3
        assert isinstance(actions.DONE, enum.IntEnum)
        assert (actions.__module__, actions.__qualname__) == ("value_forms", "Phase")
        assert env.unwrapped.actions is actions
        assert env.unwrapped.metadata["phase"] is actions.DONE
        assert env.reset()[1]["phase"] is actions.RUNNING
        assert env.reward_space == spaces.Box(-1, 1, (3,), np.float32)
        assert env.single_observation_space == spaces.Discrete(4)
        expected = spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 255, (3, 2), np.uint8)])
        assert env.observation_space_of(3) == expected
        assert env.contains(spaces.Discrete(3), 2)


@pytest.mark.parametrize("target", EVERY)
def test_a_member_that_goes_back_is_the_very_one_of_the_simulators_class(target: str) -> None:
    with values_env(target) as env:
        env.reset()
        assert env.is_done(env.unwrapped.actions.DONE)
        assert env.is_calm(env.unwrapped.moods.CALM)
        env.step(env.unwrapped.actions.ABORTED)
        assert env.unwrapped.last is env.unwrapped.actions.ABORTED
        env.unwrapped.kept = Mood.WILD
        assert env.unwrapped.kept is Mood.WILD


def test_members_are_copied_and_pickled_without_an_import() -> None:
    with values_env() as env:
        actions, access = env.unwrapped.actions, env.unwrapped.access
        both = access.READ | access.WRITE
    for value in (actions.DONE, actions, access.BOTH, both):
        assert copy.deepcopy(value) is value
        assert pickle.loads(pickle.dumps(value)) is value
    assert "value_forms" not in sys.modules


@pytest.mark.parametrize("target", ["py36-gym021", TARGET])
def test_vector_infos_are_those_of_sync_vector_env(target: str) -> None:
    actions = [[0, 1], [1, 1], [1, 0], [0, 1]]
    modes = MODES if target == TARGET else MODES[:1]
    tasks = [vectors.task("value_forms:VectorValuesEnv", mode, actions) for mode in modes]
    for made, theirs in zip(tasks, vectors.inside(target, tasks), strict=True):
        assert vectors.played(target, made, workers=2) == theirs


def test_an_int_enum_fills_an_object_array_with_none() -> None:
    task = vectors.task("value_forms:VectorValuesEnv", "NextStep", [[0, 1]])
    with vectors.opened(TARGET, task, workers=2) as envs:
        envs.reset()
        infos = envs.step(np.array([0, 1]))[4]
        found = infos["an IntEnum"]
        assert found.dtype == object
        assert found[0] is None
        assert found[1].name == "DONE"
        assert infos["_an IntEnum"].tolist() == [False, True]
        assert envs.call("reward_space") == (spaces.Box(-1, 1, (3,), np.float32),) * 2
        with pytest.raises(TypeError):  # SyncVectorEnv calls a value that is callable
            envs.get_attr("actions")


def test_what_has_no_form_is_refused_with_advice() -> None:
    with opened("an odd env", entry_point="odd_forms:OldEnv") as env:
        for value, advice in ((memoryview(b"x"), "bytes(value)"), (collections.UserDict(), "value.data")):
            with pytest.raises(errors.CannotCross, match="no form on the wire; pass ") as caught:
                env.unwrapped.call("builtins:print", value)
            assert advice in str(caught.value)
