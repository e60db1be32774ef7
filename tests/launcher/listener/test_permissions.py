"""The permissions for what a client may make a server do, checked without a server."""

from typing import Any

import pytest

from gym_service.server.permissions import NotPermitted, Permissions

RECIPE: dict[str, Any] = {"id": "CartPole-v1", "entry_point": None, "imports": [], "wrappers": [], "kwargs": {}}
PICKLED = ("3.12", b"...")
# What a client may request beyond a registered id, the least harmful first.
SIMULATOR = {"imports": ["gym_pusht", "gym_xarm"], "kwargs": {"env_id": "CartPole-v1", "device": "cuda:0"}}
NAMED: list[dict[str, Any]] = [
    *({"imports": [name]} for name in ("os", "gymnasium", "gym_pusht.envs", "gym-pusht", "gym_pusht\n", "gym_", "")),
    {"imports": "os"},
    {"imports": ["gym_pusht", "os"]},
    {"entry_point": "os:getcwd"},
    {"wrappers": ["os:getcwd"]},
    {"id": "os:CartPole-v1"},
    {"id": "GymV26Environment-v0", "kwargs": {"env_id": "os:CartPole-v1"}},
    {"kwargs": {"env_id": ["os:CartPole-v1"]}},
]
SENT: dict[str, Any] = {"wrappers": ["os:getcwd", PICKLED]}


def allows(allowed: Permissions, wish: dict[str, Any]) -> bool:
    try:
        allowed.check({**RECIPE, **wish})
    except NotPermitted:
        return False
    return True


def test_a_client_of_its_own_says_what_is_done() -> None:
    assert all(allows(Permissions(), wish) for wish in ({}, SIMULATOR, SENT, *NAMED))


def test_any_other_is_given_what_is_registered() -> None:
    allowed = Permissions(names=False, pickles=False)
    assert allows(allowed, {})
    assert allows(allowed, SIMULATOR)
    assert not any(allows(allowed, wish) for wish in (SENT, *NAMED))
    with pytest.raises(NotPermitted):
        allowed.check_function("os:getcwd", "a function")


def test_names_may_be_allowed_and_pickles_never_are() -> None:
    allowed = Permissions(names=True, pickles=False)
    assert all(allows(allowed, wish) for wish in ({}, SIMULATOR, *NAMED))
    assert not allows(allowed, SENT)
    allowed.check_function("os:getcwd", "a function")
    for sent in (PICKLED, list(PICKLED), b"os:getcwd", None):
        with pytest.raises(NotPermitted, match="pickled"):
            allowed.check_function(sent, "a function")


@pytest.mark.parametrize("names", [False, True])
def test_the_ids_that_were_named_and_no_others(names: bool) -> None:
    allowed = Permissions(names=names, pickles=False, ids=["sim.envs:space/Sim-v0", "CartPole-v1"])
    for env_id, made in (
        ("CartPole-v1", "CartPole-v1"),
        # The operator's option imports its module; a client's request alone would not.
        ("space/Sim-v0", "sim.envs:space/Sim-v0"),
        ("sim.envs:space/Sim-v0", "sim.envs:space/Sim-v0"),
    ):
        assert allowed.check({**RECIPE, "id": env_id})["id"] == made
    for wish in ({"id": "Pendulum-v1"}, {"id": "os:CartPole-v1"}, {"id": ""}, {"entry_point": "os:getcwd"}):
        assert not allows(allowed, wish)
    assert allows(allowed, {"wrappers": ["os:getcwd"]}) is names
    assert allows(allowed, {"kwargs": {"env_id": "os:CartPole-v1"}}) is names
    assert allows(allowed, {"imports": ["os"]}) is names
    with pytest.raises(NotPermitted, match=r"It makes CartPole-v1, sim\.envs:space/Sim-v0\n  try: ask"):
        allowed.check({**RECIPE, "id": "Pendulum-v1"})
