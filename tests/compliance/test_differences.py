"""The description of two runs that differ: with values the first difference; without, the forms by kind of moment."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gym_service.testing import moment_forms, trajectory_diff
from gym_service.testing.in_target import trajectory

SIDES = ("in the simulator", "here")
STEPS = 24
Change = Callable[[Any], Any]


def played(every: int, change: Change = lambda result: result, how: str = "terminates") -> list[Any]:
    """The moments of a run whose episodes end at every ``every``-th step; ``change`` is the effect of gym-service."""
    done = 0

    def reset(seed: Any, options: Any) -> Any:
        nonlocal done
        done = 0
        return change(({"state": np.zeros(2, np.float32)}, {"start": 1}))

    def step(action: Any) -> Any:
        nonlocal done
        done += 1
        over = done == every
        info: dict[str, Any] = {"at": done, "hits": [0.5] * (done % 3)}
        if done % 4 == 3:
            info["rare"] = "a text"
        if over:
            info["why"] = "it was late"
        ends = over and how == "terminates", over and how == "truncates"
        reward = np.float64(1) if over else 1.0
        return change(({"state": np.ones(2, np.float32)}, reward, *ends, info))

    plan = {"seed": 3, "options": trajectory.NONE, "render_every": 5, "actions": [None] * STEPS}
    return list(trajectory.run_episode_plan(plan, reset, step, lambda: np.zeros((2, 2, 3), np.uint8)))


def at_the_end(change: Change) -> Change:
    return lambda result: change(result) if len(result) == 5 and result[2] else result


def replaced(result: Any, at: int, value: Any) -> Any:
    return (*result[:at], value, *result[at + 1 :])


def raising(result: Any) -> Any:
    if len(result) == 5 and result[4]["at"] == 2:
        raise ValueError("two is too many")
    return result


CHANGES: dict[str, tuple[Change, str]] = {
    "a type at the end": (
        at_the_end(lambda result: replaced(result, 1, np.float32(1))),
        "every step that terminates: $.reward: numpy.float64 1.0 in the simulator, numpy.float32 1.0 here",
    ),
    "a key at the end": (
        at_the_end(lambda result: replaced(result, 4, {k: v for k, v in result[4].items() if k != "why"})),
        "every step that terminates: $.info['why'] is always there in the simulator, and never here",
    ),
    "a key too many": (
        lambda result: replaced(result, 1, {**result[1], "more": 1}) if len(result) == 2 else result,
        "every reset: $.info['more'] is always there here, and never in the simulator",
    ),
    "an order": (
        lambda result: replaced(result, 4, dict(reversed(result[4].items()))) if len(result) == 5 else result,
        "every step: $.info has the keys ['",
    ),
    "a dtype": (
        lambda result: replaced(result, 0, {"state": result[0]["state"].astype(np.float64)}),
        "every reset: $.observation['state']: an array of float32 (2,) in the simulator, an array of float64 (2,) here",
    ),
    "a type in a list": (
        lambda result: (
            replaced(result, 4, {**result[4], "hits": [1] * len(result[4]["hits"])}) if len(result) == 5 else result
        ),
        "every step: $.info['hits'][0]: float 0.5 in the simulator, int 1 here",
    ),
    "a flag": (
        lambda result: replaced(result, 3, np.bool_(result[3])) if len(result) == 5 else result,
        "every step: $.truncated: bool False in the simulator, numpy.bool",
    ),
    "another form": (
        lambda result: list(result),
        "every reset: $.observation is always there in the simulator, and nev",
    ),
    "an error": (raising, "then: raised ValueError: two is too many here, and nothing is raised in the simulator"),
}


def test_plays_that_end_at_different_steps_have_the_same_forms() -> None:
    for every in (3, 5, 7, STEPS + 1):
        for how in ("terminates", "truncates"):
            assert moment_forms.describe_difference(played(4), played(every, how=how), SIDES) == ""


def test_a_form_that_the_simulator_never_gives_is_named() -> None:
    for change, words in CHANGES.values():
        found = moment_forms.describe_difference(played(4), played(5, change), SIDES)
        assert found.startswith(words), found


class Part:
    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Part({'of a long name ' * 20}{self.number})"


PAIRS: tuple[tuple[Any, Any], ...] = (
    ("x" * 300 + "a" + "y" * 300, "x" * 300 + "b" + "y" * 300),
    ("x" * 300, "x" * 301),
    (np.str_("x" * 90 + "a"), np.str_("x" * 90 + "b")),
    ({f"a key {n}": n for n in range(40)}, {f"a key {n}": n for n in range(41)}),
    (np.longdouble(1), np.longdouble(1) + np.finfo(np.longdouble).eps),
    (np.float32(np.nan), -np.float32(np.nan)),
    (np.array([1.0, np.nan]), np.array([1.0, -np.nan])),
    (np.zeros(2), np.ones(2)),
    (np.zeros(2000), np.ones(2000)),
    (np.datetime64("NaT", "s"), np.datetime64("NaT", "ms")),
    (Part(1), Part(2)),
    (b"x" * 300, b"x" * 301),
    ((1, [2]), (1, [2, 3])),
    ({1, 2}, {1, 3}),
    (2**2000, 2**2000 + 1),
    (0.0, -0.0),
)


def test_the_text_shows_what_differs() -> None:
    for pair in PAIRS:
        for bytes_known in (True, False):
            assert_shown(pair, bytes_known)


def assert_shown(pair: tuple[Any, Any], bytes_known: bool) -> None:
    sides = [[("step 3 of seed 1", *item) for item in trajectory.items({"x": one}, "$.info")] for one in pair]
    difference = trajectory_diff.first(*sides)
    assert difference is not None
    contents = [lambda number, side=side: trajectory.full_bytes(side[number][4]) * bytes_known for side in sides]
    text = trajectory_diff.describe_difference(difference, (contents[0], contents[1]), SIDES)
    left, _, right = text.rpartition(" here")[0].partition(f" {SIDES[0]}, ")
    assert right, text
    assert not left.endswith(right), text
    assert len(text) < 600


def test_the_same_value_in_another_moment_is_placed_there() -> None:
    records = [("step 3 of seed 1", "$.reward", "int", "1"), ("step 4 of seed 1", "$.reward", "int", "1", 1)]
    difference = trajectory_diff.first(records[:1], records[1:])
    assert difference is not None
    text = trajectory_diff.describe_difference(difference, (str, str), SIDES)
    assert text == ("step 4 of seed 1: $.reward is int 1 in step 3 of seed 1 in the simulator, $.reward is int 1 here")


def test_an_array_that_is_another_when_it_is_asked_for_again() -> None:
    """A simulator that differs from itself may return an array of another size the next time."""
    records = [("step 3", "$.x", "numpy array <f4 (2,)", "00" * 8), ("step 3", "$.x", "numpy array <f4 (2,)", "01" * 8)]
    difference = trajectory_diff.first(records[:1], records[1:])
    assert difference is not None
    text = trajectory_diff.describe_difference(difference, (lambda _: "00" * 4, lambda _: "01" * 8), SIDES)
    assert text == f"step 3: $.x: other numbers in an array of float32 (2,): {'00' * 4} {SIDES[0]}, {'01' * 8} here"
