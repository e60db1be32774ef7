"""Gymnasium's wrappers on the client's side draw the same numbers as in-process: there is only one generator."""

import sys
from typing import Any

import gymnasium
import pytest
from support.opened import opened
from support.paths import ENVS

from gym_service.testing.in_target import trajectory

pytestmark = pytest.mark.skipif(not hasattr(gymnasium.wrappers, "StickyAction"), reason="needs Gymnasium 1.0 or newer")


def played(env: Any, count: int) -> list[str]:
    """Two episodes, the second without a seed, and the draws in between."""
    found = [trajectory.text(env.reset(seed=5))]
    for step in range(count):
        found.append(trajectory.text(env.step(step % 2)))
        if step == count // 2:
            found.append(trajectory.text(env.np_random.random()))
            found.append(trajectory.text(env.reset()))
    return found


@pytest.mark.parametrize("entry_point", ["drawing:DrawingEnv", "gymnasium.envs.classic_control:CartPoleEnv"])
@pytest.mark.parametrize("given", [{"repeat_action_probability": 0.5}, {"repeat_action_duration": (1, 4)}])
def test_sticky_actions(entry_point: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ENVS))
    module, _, name = entry_point.partition(":")
    given = {"repeat_action_probability": 0.4, **given}
    own = getattr(__import__(module, fromlist=[name]), name)()
    expected = played(gymnasium.wrappers.StickyAction(own, **given), 12)
    with opened("an env", python=sys.executable, entry_point=entry_point) as env:
        assert played(gymnasium.wrappers.StickyAction(env, **given), 12) == expected
