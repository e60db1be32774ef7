"""Renames the parts of an observation to the names that LeRobot expects.

Knows Gymnasium's spaces; the user gives the names. Never imports LeRobot. Python 3.10 and up.
"""

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces

from lerobot_env_gym_service.features import is_image

# The name in `rename` of an observation that is not a dict.
WHOLE = ""


class Renaming:
    """Moves the parts of an observation to other names. Returns it unchanged if there is nothing to rename.

    Args:
        space: the simulator's observation space.
        names: maps the simulator's names to LeRobot's: ``{"image": "pixels", "observation": "agent_pos"}``. A dot names
            one of several cameras: ``{"wrist_image": "pixels.wrist"}``. An observation that is not a dict has the name
            ``""``; without an entry it becomes ``pixels`` if it is an image, else ``agent_pos``.

    Raises:
        ValueError: the simulator lacks one of the names, or two parts would have the same name.
    """

    def __init__(self, space: spaces.Space[Any], names: Mapping[str, str]) -> None:
        self._is_dict = isinstance(space, spaces.Dict)
        given: dict[str, spaces.Space[Any]] = dict(space.items()) if isinstance(space, spaces.Dict) else {WHOLE: space}
        if unknown := [name for name in names if name not in given]:
            raise ValueError(f"rename: the simulator has no observation {unknown[0]!r}; it has: {list(given)}")
        if not self._is_dict:
            names = {WHOLE: "pixels" if is_image(space) else "agent_pos", **names}
        self._paths = {name: tuple(names[name].split(".")) if name in names else (name,) for name in given}
        self._moves_nothing = self._is_dict and all(path == (name,) for name, path in self._paths.items())
        self.space = space if self._moves_nothing else _space(self._moved(given))

    def __call__(self, observation: Any) -> Any:
        """The renamed observation, with the same arrays."""
        if self._moves_nothing:
            return observation
        return self._moved(observation if self._is_dict else {WHOLE: observation})

    def _moved(self, given: Mapping[str, Any]) -> dict[str, Any]:
        moved: dict[str, Any] = {}
        for name, path in self._paths.items():
            place = moved
            for part in path[:-1]:
                place = place.setdefault(part, {})
            if not isinstance(place, dict) or path[-1] in place:
                raise ValueError(f"rename: two observations would have the name {'.'.join(path)!r}")
            place[path[-1]] = given[name]
        return moved


def _space(moved: Mapping[str, Any]) -> spaces.Dict:
    return spaces.Dict({name: _space(inner) if type(inner) is dict else inner for name, inner in moved.items()})
