"""Opens an env of tests/fixture_envs through gym-service, and closes it after the test.

Knows gym_service.make and the interpreters of the tests. Python 3.10 and up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gym_service
from gym_service import RemoteEnv
from support.paths import ENVS
from support.targets import TARGETS

TARGET = "py312-gymnasium14"


@contextmanager
def opened(env_id: str, module: str = "", target: str = TARGET, **given: Any) -> Iterator[RemoteEnv]:
    """The env, in a target of tests/support/targets.py that can import tests/fixture_envs."""
    keys = {"python": str(TARGETS[target].python()), "pythonpath": [str(ENVS)]}
    keys |= {"imports": [module]} if module else {}
    env = gym_service.make(env_id, **{**keys, **given})
    try:
        yield env
    finally:
        env.close()


@contextmanager
def misbehaving(**given: Any) -> Iterator[RemoteEnv]:
    """``Misbehaving-v0``, without faults so far."""
    with opened("Misbehaving-v0", "misbehaving", **given) as env:
        yield env
