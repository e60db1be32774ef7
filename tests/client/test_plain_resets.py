"""Resets without arguments, which both sides compile: the same values as by the general way, whatever they return."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.opened import TARGET, opened
from support.same import same

from gym_service import RemoteEnv
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.plain_arrays import ArrayWriter
from gym_service.protocol.results import EMPTY_INFO, RESET_WITHOUT_ARGUMENTS, encode_reset


def answered(reset: Callable[[], Any]) -> Any:
    try:
        return reset()
    except Exception as error:  # noqa: BLE001 - two ways are compared, also in what they raise
        return type(error), str(error)


def played(env: RemoteEnv, count: int, **given: Any) -> list[Any]:
    """The results of so many resets, with a step after each."""
    found = []
    for _ in range(count):
        found.append(answered(lambda: env.reset(**given)))
        found.append(env.step(1)[1])
    return found


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym026", "py310-gymnasium029", TARGET])
def test_all_results_are_those_of_the_general_way(target: str) -> None:
    given = {"entry_point": "plain_resets:PlainResets", "target": target}
    with opened("plain", **given) as plain, opened("general", **given) as general:
        count = 2 * plain.get_wrapper_attr("count_of_results") + 1
        found = played(plain, count)
        if target == "py36-gym021":  # it takes no options, and a seed goes to another method
            found_generally = played(general, count, seed=3)
        else:
            found_generally = played(general, count, options={})
        assert found[1::2] == [float(number) for number in range(count)]
        assert same(found, found_generally)


def test_an_observation_is_the_callers_to_keep_and_to_change() -> None:
    with opened("plain", entry_point="small_steps:SmallEnv") as env:
        env.reset()
        first = env.reset()[0]
        assert first.flags.writeable
        first += 100
        second = env.reset()[0]
        assert (first.tolist(), second.tolist()) == ([100, 102], [0, 3])


def test_the_bytes_are_those_of_the_general_form() -> None:
    write = ArrayWriter().write
    for observation in (np.zeros(3), np.arange(6, dtype=">i2").reshape(2, 3), np.array(1.5), np.ones((1, 2, 3), bool)):
        assert write(observation) + EMPTY_INFO == bytes(encode_reset((observation, {})).head)
    assert bytes(Encoder().add(None, "$.seed").add(None, "$.options").head) == RESET_WITHOUT_ARGUMENTS
