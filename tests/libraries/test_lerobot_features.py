"""How a simulator's spaces are described to LeRobot, and the names under which it finds the observations."""

from pathlib import Path

import numpy as np
import pytest
from gym_service_launcher.config.envs_file import tomllib
from gymnasium import spaces
from lerobot_env_gym_service import features as plugin_features
from lerobot_env_gym_service.features import features_of
from lerobot_env_gym_service.renaming import Renaming

ACTION = spaces.Box(-1, 1, (4,), np.float32)
IMAGE = spaces.Box(0, 255, (48, 64, 3), np.uint8)


def vector(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float64)


def test_each_part_of_an_observation_has_the_names_of_lerobot() -> None:
    observation = spaces.Dict(
        {
            "pixels": IMAGE,
            "agent_pos": vector(7),
            "environment_state": vector(16),
            "force": vector(2),
            "mission": spaces.Text(8),
        }
    )
    assert set(features_of(observation, ACTION)) == {
        ("action", "ACTION", (4,), "action"),
        ("pixels", "VISUAL", (48, 64, 3), "observation.image"),
        ("agent_pos", "STATE", (7,), "observation.state"),
        ("environment_state", "ENV", (16,), "observation.environment_state"),
        ("force", "STATE", (2,), "observation.force"),
    }


def test_each_camera_of_several_is_a_feature_under_the_name_it_is_recorded_by() -> None:
    cameras = spaces.Dict({"pixels": spaces.Dict({"top": IMAGE, "wrist": IMAGE}), "agent_pos": vector(2)})
    found = [tuple(each) for each in features_of(cameras, ACTION) if each.kind == "VISUAL"]
    assert sorted(found) == [
        (f"observation.images.{name}", "VISUAL", (48, 64, 3), f"observation.images.{name}") for name in ("top", "wrist")
    ]


@pytest.mark.parametrize(
    ("observation", "action", "complaint"),
    [
        ({"agent_pos": vector(2)}, spaces.Discrete(6), r"action space is Discrete\(6\)"),
        ({"agent_pos": vector(2)}, spaces.Box(-1, 1, (2, 2)), "1-d Box"),
        ({"pixels": spaces.Box(0, 1, (48, 64, 3))}, ACTION, r"observation\['pixels'\] is Box.*uint8"),
        ({"pixels": spaces.Dict(top=spaces.Box(0, 255, (3, 48, 64), np.uint8))}, ACTION, r"\['pixels'\]\['top'\]"),
        ({"agent_pos": spaces.Box(-1, 1, (2, 2))}, ACTION, r"observation\['agent_pos'\] is Box.*a vector"),
        ({"mission": spaces.Text(8)}, ACTION, "nothing in the observation space.*--env.rename"),
    ],
)
def test_a_space_that_lerobot_cannot_use_is_named(
    observation: dict[str, spaces.Space], action: spaces.Space, complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){complaint}"):
        features_of(spaces.Dict(observation), action)


def test_an_observation_that_has_the_names_already_is_not_touched() -> None:
    space = spaces.Dict({"pixels": IMAGE, "agent_pos": vector(2)})
    renaming, observation = Renaming(space, {}), {"agent_pos": np.ones(2), "more": "than the space says"}
    assert renaming.space is space
    assert renaming(observation) is observation


@pytest.mark.parametrize(("space", "name"), [(IMAGE, "pixels"), (vector(3), "agent_pos")])
def test_an_observation_that_is_no_dict_becomes_one(space: spaces.Box, name: str) -> None:
    renaming, array = Renaming(space, {}), np.ones(space.shape, space.dtype)
    assert renaming.space == spaces.Dict({name: space})
    assert renaming(array)[name] is array
    assert list(Renaming(space, {"": "environment_state"})(array)) == ["environment_state"]


def test_names_are_changed_and_cameras_gathered() -> None:
    space = spaces.Dict({"rgb": IMAGE, "wrist.rgb": IMAGE, "state": vector(3), "time": vector(1)})
    renaming = Renaming(space, {"rgb": "pixels.front", "wrist.rgb": "pixels.wrist", "state": "agent_pos"})
    assert renaming.space == spaces.Dict(
        {"pixels": spaces.Dict({"front": IMAGE, "wrist": IMAGE}), "agent_pos": vector(3), "time": vector(1)}
    )
    seen = space.sample()
    got = renaming(seen)
    assert got["pixels"]["front"] is seen["rgb"]
    assert got["pixels"]["wrist"] is seen["wrist.rgb"]
    assert got["agent_pos"] is seen["state"]
    assert got["time"] is seen["time"]
    assert len(got) == 3


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ({"stat": "agent_pos"}, r"no observation 'stat'; it has: \['rgb', 'state', 'time'\]"),
        ({"state": "agent_pos", "time": "agent_pos"}, "two observations would have the name 'agent_pos'"),
        ({"rgb": "pixels", "state": "pixels.front"}, "two observations would have the name 'pixels.front'"),
        ({"state": "pixels.front", "rgb": "pixels"}, "two observations would have the name 'pixels"),
    ],
)
def test_names_that_cannot_be_are_refused(names: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Renaming(spaces.Dict({"rgb": IMAGE, "state": vector(3), "time": vector(1)}), names)


def test_the_distribution_is_called_as_its_module_is() -> None:
    """LeRobot imports the module by the distribution's name. LeRobot itself must not be a dependency."""
    package = Path(plugin_features.__file__).parent
    project = tomllib.loads((package.parent / "pyproject.toml").read_text())["project"]
    assert project["name"] == package.name
    assert project["dependencies"] == ["gym-service"]
