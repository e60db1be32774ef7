"""Programs that keep fork servers warm, and how often the simulator of ``counted.py`` was imported.

Knows the texts of the programs, and what ``gym-service ps`` lists. Python 3.10 and up.
"""

import json
from pathlib import Path
from typing import Any

from support.paths import ENVS
from support.programs import Programs
from support.targets import TARGETS

# The usual target of these tests: its imports take little time.
OLD = "py38-gym021"
TARGET = "py312-gymnasium14"
# Long enough that nothing ends by its time during a test.
LONG_S = 600
# How long the end of what is no longer needed may take on a loaded machine.
SOON_S = 10.0

OPEN = """
import gym_service
keys = {keys!r}
warnings.showwarning = lambda message, *rest: say("warning:", message)
with_env = lambda: gym_service.make("Counted", **keys)
"""
PLAY = """
env = with_env()
env.reset(seed=0)
say(env.target["pid"])
"""
ONCE = (
    PLAY
    + """
env.close()
"""
)
UNTIL_TOLD = (
    PLAY
    + """
hear()
say(env.step(0)[1])
env.close()
"""
)


def keys(target: str = OLD, **given: Any) -> dict[str, Any]:
    usual = {"entry_point": "counted:CountedEnv", "pythonpath": [str(ENVS)], "keep_warm_s": LONG_S}
    return {"python": str(TARGETS[target].python()), **usual, **given}


def opening(**given: Any) -> str:
    return OPEN.format(keys=keys(**given))


def importers(group: Programs) -> list[int]:
    """The pids of the processes that have imported it."""
    return [int(line) for line in (group.folder / "imports").read_text().split()]


def warm(group: Programs) -> list[dict[str, Any]]:
    """The warm fork servers that ``ps`` lists."""
    listed: list[dict[str, Any]] = json.loads(group.command("ps", "--json"))
    return [server for server in listed if server["env"].startswith("warm:")]


def sockets(group: Programs) -> list[Path]:
    return [path for path in group.files() if path.suffix == ".sock"]


def stop(group: Programs) -> None:
    """End what is warm. Nothing is left then."""
    group.command("stop", "--warm")
    group.assert_nothing_is_left(SOON_S)
