"""After a call of a multi-agent env that was interrupted or has failed, the client shows the simulator's state.

Knows the two multi-agent APIs and the facts that the client stores for them. Python 3.10 and up.
"""

from collections.abc import Callable
from typing import Any

import pytest
from support.agents import opened
from support.interrupts import KINDS, caught, interrupted_at

from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

Acts = dict[str, Callable[[Any], Any]]

PARALLEL: Acts = {
    "step": lambda env: env.step(dict.fromkeys(env.possible_agents, 1)),
    "reset": lambda env: env.reset(),
    "method": lambda env: env.pass_on(),
    "assignment": lambda env: setattr(env, "agents", ["blue", "red"]),
}
AEC: Acts = {
    "step": lambda env: env.step(1),
    "reset": lambda env: env.reset(),
    "last": lambda env: [env.last(), env.last()],  # the second one asks the simulator
    "method": lambda env: env.skip(),
}


def shown(env: Any) -> Any:
    """What the client shows of the state, and what the simulator says afterwards."""
    if hasattr(env, "agent_selection"):
        names = "agents", "agent_selection", "rewards", "_cumulative_rewards", "terminations", "infos"
        found = [repr(getattr(env, name)) for name in names] + [repr(env.last())]
        return found, [*env.call("several_agents:state_of", names), repr(env._remote.call("last"))]
    return [repr(env.agents)], env.call("several_agents:state_of", ("agents",))


CASES = [("parallel", what) for what in PARALLEL] + [("aec", what) for what in AEC]


@pytest.mark.parametrize(
    ("api", "what", "every"),
    [(api, what, 17) for api, what in CASES if what in ("step", "reset")]
    + [pytest.param(*case, 1, marks=pytest.mark.long) for case in CASES],
)
def test_at_every_line(api: str, what: str, every: int) -> None:
    """The exception is the user's own, and the next read shows what the simulator has."""
    acts, name = (PARALLEL, "Relay") if api == "parallel" else (AEC, "Game")
    interrupts = 0
    with opened(api, f"several_agents:{name}", kwargs={"rounds": 10**6} if api == "aec" else {}) as env:
        env.reset()
        pid = env.target["pid"]
        for number, kind in enumerate(KINDS):
            for point in range(number * every // len(KINDS), 5000, every):
                acts["step"](env)  # so that the client has stored the state
                with interrupted_at(point, kind) as found:
                    error = caught(lambda: acts[what](env))
                assert error is found.raised, (found.where, error)
                ours, theirs = shown(env)
                assert ours == theirs, found.where
                interrupts += found.raised is not None
                if found.raised is None:
                    break
        assert env.target["pid"] == pid
    print(interrupts, "interrupts")
    assert interrupts > 5


def test_a_step_whose_result_does_not_cross_has_changed_the_agents() -> None:
    given: dict[str, Any] = {"kwargs": {"lives": 2}, "max_message_mib": 1}
    with opened("parallel", "several_agents:talkative_team", **given) as env:
        env.reset()
        env.step(dict.fromkeys(env.agents, 1))
        with pytest.raises(errors.CannotCross):
            env.step(dict.fromkeys(env.agents, 1))
        assert env.agents == ["green", "blue"]


@pytest.mark.parametrize("api", ["parallel", "aec"])
def test_a_step_that_fails_half_way_has_changed_the_agents(api: str) -> None:
    name = "RelayThatDrops" if api == "parallel" else "GameThatDrops"
    with opened(api, f"several_agents:{name}") as env:
        env.reset()
        before = env.agents
        with pytest.raises(errors.EnvError, match="the baton"):
            (PARALLEL if api == "parallel" else AEC)["step"](env)
        ours, theirs = shown(env)
        assert ours == theirs
        assert env.agents != before
