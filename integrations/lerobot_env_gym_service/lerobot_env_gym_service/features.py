"""The features of a simulator's spaces, with LeRobot's names.

Knows Gymnasium's spaces, and LeRobot's names as strings. Never imports LeRobot. Python 3.10 and up.

LeRobot reads an observation by name: ``pixels`` is one camera or a dict of cameras, ``agent_pos`` the state of the
robot, ``environment_state`` the state of the simulation. Any other vector reaches a policy as ``observation.<name>``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

# The names of LeRobot's FeatureType.
ACTION, VISUAL, STATE, ENV = "ACTION", "VISUAL", "STATE", "ENV"
VECTORS = {"agent_pos": (STATE, "observation.state"), "environment_state": (ENV, "observation.environment_state")}


class Feature(NamedTuple):
    """One entry of LeRobot's ``features`` and ``features_map``."""

    name: str
    kind: str
    shape: tuple[int, ...]
    policy_name: str


def features_of(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> list[Feature]:
    """The features of one env, the action first.

    Raises:
        ValueError: LeRobot cannot use such a space; the text says which one, and what to try.
    """
    if not isinstance(action_space, spaces.Box) or len(action_space.shape) != 1:
        raise ValueError(f"the action space is {action_space}; LeRobot's policies return a vector (a 1-d Box)")
    found = [Feature("action", ACTION, action_space.shape, "action")]
    assert isinstance(observation_space, spaces.Dict)  # making.py makes it one
    for name, space in observation_space.items():
        found += _features_under(name, space)
    if len(found) == 1:
        raise ValueError(
            f"LeRobot can use nothing in the observation space: {observation_space}\n"
            '  try: --env.rename=\'{"its name here": "pixels"}\', or "agent_pos", or "environment_state"'
        )
    return found


def _features_under(name: str, space: spaces.Space[Any]) -> Iterator[Feature]:
    if name == "pixels":
        yield from _cameras(space)
    elif name in VECTORS:
        if not _is_vector(space):
            raise ValueError(f"observation[{name!r}] is {space}; LeRobot accepts a vector of numbers (a 1-d Box)")
        yield Feature(name, VECTORS[name][0], space.shape or (), VECTORS[name][1])
    elif _is_vector(space):
        yield Feature(name, STATE, space.shape or (), f"observation.{name}")


def _cameras(space: spaces.Space[Any]) -> Iterator[Feature]:
    """One camera, or each camera of a dict, by the name under which LeRobot also records it."""
    cameras: Mapping[str, Any] = space if isinstance(space, spaces.Dict) else {"": space}
    for camera, seen in cameras.items():
        path = f"observation['pixels'][{camera!r}]" if camera else "observation['pixels']"
        if not is_image(seen):
            raise ValueError(f"{path} is {seen}; LeRobot accepts images: uint8, (height, width, channels)")
        policy_name = f"observation.images.{camera}" if camera else "observation.image"
        yield Feature(policy_name if camera else "pixels", VISUAL, seen.shape, policy_name)


def is_image(space: spaces.Space[Any]) -> bool:
    """Whether LeRobot's own check of an observation takes it for an image: channels last, and fewer than pixels."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        return False
    height, width, channels = space.shape
    return channels < height and channels < width


def _is_vector(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 1
