"""Which env is stepped: how it is made in this process, and what a server is told of it.

Knows Gymnasium and where the benchmarks' own envs lie. Never imports gym_service: the venv of another contender has
none. Python 3.10 and up.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

ENVS = Path(__file__).absolute().parent / "envs"
if str(ENVS) not in sys.path:
    sys.path.append(str(ENVS))

OURS = "gym_bench_envs"


@dataclass(frozen=True)
class Simulator:
    """An env id, the module that registers it, and what it is made with."""

    env_id: str
    module: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> gym.Env[Any, Any]:
        """One env, in this process."""
        return gym.make(f"{self.module}:{self.env_id}" if self.module else self.env_id, **self.kwargs)

    @property
    def keys(self) -> dict[str, Any]:
        """What gym_service.make is told besides the id and the interpreter."""
        return {"imports": [self.module] if self.module else [], "kwargs": dict(self.kwargs)}

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Simulator":
        return cls(**json.loads(text))


CARTPOLE = Simulator("CartPole-v1")
ATARI = Simulator("Frame-v0", OURS, {"height": 210, "width": 160})
FRAME = Simulator("Frame-v0", OURS, {"height": 480, "width": 640})
CAMERAS = Simulator("Cameras-v0", OURS, {"height": 480, "width": 640})
INFOS, NO_INFOS = (Simulator("Infos-v0", OURS, {"has_infos": has_infos}) for has_infos in (True, False))
# Of a hundred steps, five take ten times as long.
UNEVEN = Simulator("Uneven-v0", OURS, {"usual_s": 2e-3, "long_s": 20e-3, "long_share": 0.05})


def work(step_s: float) -> Simulator:
    """An env whose step takes so many seconds of the processor's time, as fast as this machine is now."""
    from gym_bench_envs import rounds_in

    return Simulator("Work-v0", OURS, {"rounds": rounds_in(step_s)})
