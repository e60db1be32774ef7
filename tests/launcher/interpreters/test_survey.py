"""What a survey says of an id that is not there, and what is advised."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from gym_service_launcher.config import entry as entries
from gym_service_launcher.interpreters import causes
from gym_service_launcher.interpreters.evidence import Evidence
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


PACKAGE = "the package that registers gym_pusht/…, installed there, with its module in imports"
ERROR = "ModuleNotFoundError: No module named 'pymunk'"


@pytest.mark.parametrize(
    ("installed", "importable", "failed", "more", "advice"),
    [
        ({}, (), {}, "", PACKAGE),
        ({"minigrid": FOUND_IN["minigrid"]}, ("minigrid",), {}, "", PACKAGE),
        ({}, ("gym_pusht",), {}, "; the module gym_pusht is installed but not imported", 'imports = ["gym_pusht"]'),
        (
            {},
            ("gym_pusht", "arms"),
            {"arms": "OSError: no license", "gym_pusht": ERROR},
            f", and gym_pusht cannot be imported: {ERROR}",
            'imports = ["gym_pusht"], then gym-service check Task, which says why',
        ),
        (
            {},
            ("arms",),
            {"arms": "OSError: no license"},
            ", and arms cannot be imported: OSError: no license",
            f'{PACKAGE}; or, if that is arms, imports = ["arms"], then gym-service check Task, which says why',
        ),
    ],
)
def test_a_namespace_without_ids_is_named_and_no_package_is_guessed(
    installed: Mapping[str, Sequence[str]], importable: Sequence[str], failed: Mapping[str, str], more: str, advice: str
) -> None:
    entry = entries.entry("Task", {"python": "/sim/bin/python", "id": "gym_pusht/PushT-v0"}, file=Path("envs.toml"))
    evidence = Evidence(entry, "gymnasium.error.NamespaceNotFound", "Namespace gym_pusht not found.")
    evidence.wide_survey = Survey(
        Path("python"), importable=importable, own=OWN, ids=OWN, found_in=installed, failed=failed
    )
    explained = causes.explain(evidence)
    assert explained is not None
    cause = "nothing in /sim/bin/python registers 'gym_pusht/PushT-v0', or another id of the namespace 'gym_pusht'"
    assert (explained.cause, explained.advice) == (f"{cause}{more}", advice)


def test_a_namespace_of_gymnasium_itself_is_not_missing() -> None:
    entry = entries.entry("Task", {"python": "/sim/bin/python", "id": "phys2d/Reach-v0"}, file=Path("envs.toml"))
    evidence = Evidence(entry, "gymnasium.error.NameNotFound", "Environment `Reach` doesn't exist in namespace phys2d.")
    own = (*OWN, "phys2d/CartPole-v1")
    evidence.wide_survey = Survey(Path("python"), own=own, ids=own)
    explained = causes.explain(evidence)
    assert explained is not None
    assert explained.cause == (
        "nothing in /sim/bin/python registers 'phys2d/Reach-v0'; no package there registers ids of its own"
    )
