"""What a survey says of an id that is not there."""

from pathlib import Path

import pytest
from gym_service_launcher.interpreters.survey import Survey

OWN = ("CartPole-v0", "CartPole-v1", "Acrobot-v1", "GymV26Environment-v0", "Pusher-v5")
FOUND_IN = {
    "gym_pusht": ["gym_pusht/PushT-v0", "gym_pusht/PushTKeypoints-v0"],
    "minigrid": ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-DoorKey-8x8-v0", "MiniGrid-Empty-5x5-v0"],
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("gym_pusht/PushT-v1", "gym_pusht/PushT-v0"),
        ("PushT-v0", "gym_pusht/PushT-v0"),
        ("pusht-v0", "gym_pusht/PushT-v0"),
        ("PushTKeypoint-v0", "gym_pusht/PushTKeypoints-v0"),
        ("CartPole", "CartPole-v1"),
        ("CartPol-v0", "CartPole-v0"),
        ("Cartpole-v3", "CartPole-v1"),
        ("MiniGrid-DoorKey-v0", "MiniGrid-DoorKey-8x8-v0"),
        ("gym_push/PushT-v0", "gym_pusht/PushT-v0"),
        ("other_sim/Pushe-v5", None),
        ("sim/Acrobots-v1", None),
        ("Typo-v0", None),
        ("Sokoban-v0", None),
    ],
)
def test_the_nearest_id_is_alike_without_its_version(wanted: str, expected: str | None) -> None:
    assert Survey(Path("python"), own=OWN, ids=OWN, found_in=FOUND_IN).nearest_id(wanted) == expected
