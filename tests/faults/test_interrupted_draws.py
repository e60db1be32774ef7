"""Exceptions of signal handlers at any line of a draw from the simulator's generator: no later draw is a wrong one."""

from typing import Any

import numpy as np
import pytest
from support.interrupts import Tally, interrupt_at_each
from support.opened import TARGET, opened

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize(("target", "name"), [(TARGET, "DrawingEnv"), ("py36-gym021", "OldDrawingEnv")])
def test_at_every_line(target: str, name: str, every: int) -> None:
    """Draws on both sides follow each other, also after an interrupted one, which was made or was not."""
    tally = Tally()
    with opened("drawing", target=target, entry_point=f"drawing:{name}") as env:
        env.reset(seed=3)
        generator, expected = env.np_random, _copy_of(env.np_random)

        def act() -> None:
            assert generator.uniform() == expected.uniform()

        def check(point: int, where: str) -> None:
            following = [expected.uniform() for _ in range(2)]
            found = generator.uniform() if point % 2 else float(env.step(0)[0])
            assert found in following, where
            if found == following[0]:
                assert generator.uniform() == following[1], where
            for _ in range(2):
                assert float(env.step(0)[0]) == expected.uniform(), where
                assert generator.uniform() == expected.uniform(), where

        interrupt_at_each(act, check, every, tally)
    tally.check()


def _copy_of(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return np.random.Generator(generator.bit_generator)
    copied = np.random.RandomState()
    copied.set_state(generator.get_state())
    return copied
