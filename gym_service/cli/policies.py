"""The options of the commands that play an env: ``--policy``, ``--seed`` and ``--fps``.

Knows actions, seeds and imports. Never knows what is done with the play. Python 3.10 and up.
"""

import argparse
import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gym_service_launcher.errors import ConfigError, GymServiceError


def policy_of(name: str, env: Any, seed: int) -> Callable[[Any], Any]:
    """What gives an action for an observation: ``random``, ``zero`` or ``module:function``.

    Raises:
        ConfigError: it is none of these.
        GymServiceError: there is no such function, or no zero action.
    """
    imported = imported_policy(name)
    if imported is not None:
        return imported
    if name == "random":
        env.action_space.seed(seed)
        return lambda observation: env.action_space.sample()
    from gym_service.traces.actions import NoFixedActions, zero_action

    try:
        action = zero_action(env.action_space)
    except NoFixedActions as error:
        raise GymServiceError(f"--policy zero: {error}\n  try: --policy random") from error
    return lambda observation: action


def imported_policy(name: str) -> Callable[[Any], Any] | None:
    """The function that ``module:function`` names; None for ``random`` and ``zero``. Raises as ``policy_of``."""
    if name in ("random", "zero"):
        return None
    module, _, path = name.partition(":")
    if not module or not path:
        text = f"--policy {name!r} is none of random, zero and module:function"
        raise ConfigError(text, file=None, key="policy")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as error:
        raise GymServiceError(f"--policy {name}: {error}\n  try: a module of this folder, {Path.cwd()}") from error
    if not callable(found):
        raise GymServiceError(f"--policy {name} is a {type(found).__name__}, and a policy is called")
    return found


def frames_per_second(text: str) -> float:
    """The number of an option; for argparse."""
    try:
        fps = float(text)
    except ValueError:
        fps = math.nan
    if not 0 < fps <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames a second above 0")
    return fps


def reset_of_episode(env: Any, seed: int | None, episode: int) -> Any:
    """The result of the reset before an episode. Each has a seed of its own, counted from ``seed`` or 0.

    If no seed was asked for, an env that cannot be seeded is reset without one. Blocks and raises as ``env.reset``.
    """
    from gym_service.errors import ApiMismatch

    try:
        return env.reset(seed=(seed or 0) + episode)
    except ApiMismatch:
        if seed is not None:
            raise
        return env.reset()
