"""Vector envs whose envs change their spaces: the vector env keeps its first spaces, as a SyncVectorEnv does."""

from typing import Any

from support import vectors
from support.opened import TARGET
from support.vector_reference import MODES

# The calls to each env after the first reset.
CALLS: tuple[list[tuple[str, list[Any]]], ...] = (
    [("configure", [3])],
    [("configure", [3, True])],
    [("configure", [1])],
    [("change_in_place", [0.25])],
    [("change_and_raise", [3])],
    [("configure", [3, True]), ("configure", [2, True])],
)


def test_what_does_not_fit_any_more_is_the_error_of_a_sync_vector_env() -> None:
    tasks = [
        vectors.task("changing:ChangingEnv", mode, [[0, 1, 0], [1, 0, 1], [0, 0, 0]], calls=calls)
        for index, calls in enumerate(CALLS)
        for mode in (MODES if index == 0 else MODES[:1])
    ]
    for task, theirs in zip(tasks, vectors.inside(TARGET, tasks), strict=True):
        assert vectors.played(TARGET, task) == theirs, (task["mode"], task["calls"])


def test_the_spaces_stay_those_it_was_made_with() -> None:
    task = vectors.task("changing:ChangingEnv", "NextStep", [[0, 1, 0]])
    with vectors.opened(TARGET, task, workers=2) as envs:
        before = envs.single_observation_space, envs.observation_space, envs.action_space
        envs.reset(seed=1)
        envs.call("configure", 3, True)
        after = envs.single_observation_space, envs.observation_space, envs.action_space
        assert all(one is other for one, other in zip(before, after, strict=True))
        assert [space.shape for space in envs.get_attr("observation_space")] == [(3,)] * 3
        envs.call("configure", 2, True)
        observations, _ = envs.reset(seed=1)
        assert observations in envs.observation_space
