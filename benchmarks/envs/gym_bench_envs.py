"""Envs that cost next to nothing themselves, so that what is timed is the way to them; and one that costs a lot.

Knows Gymnasium and numpy. Runs in the client and in the server. By its name servers that stay make it, too.
"""

import time
from typing import Any

import gymnasium as gym
import numpy as np


class Preallocated(gym.Env[Any, Any]):
    """Always the same memory as its observation, of which a step changes eight bytes: the number of the step."""

    action_space = gym.spaces.Discrete(6)

    def __init__(self, space: gym.spaces.Space[Any], observation: Any, first: np.ndarray) -> None:
        self.observation_space = space
        self._observation = observation
        self._number = first.reshape(-1)[:8].view(np.int64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._number[0] = 0
        return self._observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._number[0] += 1
        return self._observation, 1.0, False, False, {}


class Frame(Preallocated):
    """One camera."""

    def __init__(self, height: int, width: int) -> None:
        frame = _picture(height, width)
        super().__init__(gym.spaces.Box(0, 255, frame.shape, np.uint8), frame, frame)


class DrawnFrame(Frame):
    """One camera whose picture takes its time, as one that a simulator draws."""

    def __init__(self, height: int, width: int, seconds: float) -> None:
        super().__init__(height, width)
        self._seconds = seconds

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            pass
        return super().step(action)


class Cameras(Preallocated):
    """Two cameras and the state of a two-armed robot."""

    def __init__(self, height: int, width: int) -> None:
        top, wrist = _picture(height, width), _picture(height, width)
        camera = gym.spaces.Box(0, 255, top.shape, np.uint8)
        state = gym.spaces.Box(-np.inf, np.inf, (14,), np.float64)
        space = gym.spaces.Dict({"top": camera, "wrist": camera, "agent_pos": state})
        super().__init__(space, {"top": top, "wrist": wrist, "agent_pos": np.linspace(-1.0, 1.0, 14)}, top)


class Work(gym.Env[Any, Any]):
    """A step is a fixed amount of work for the processor."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        work(self._rounds)
        self._steps += 1
        return self._observe(), 1.0, False, False, {}

    def _observe(self) -> np.ndarray:
        return np.full(4, self._steps, np.float32)


class Uneven(gym.Env[Any, Any]):
    """A step sleeps for a while, and now and then for much longer."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, usual_s: float, long_s: float, long_share: float) -> None:
        self._usual_s, self._long_s, self._long_share = usual_s, long_s, long_share
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(4, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(self._long_s if self.np_random.random() < self._long_share else self._usual_s)
        self._steps += 1
        return np.full(4, self._steps, np.float32), 1.0, False, False, {}


class Infos(gym.Env[Any, Any]):
    """As a robot of MuJoCo: 17 numbers, a float64 as reward, and an info of seven numbers and a flag, or none."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (17,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (6,), np.float32)

    def __init__(self, has_infos: bool) -> None:
        self._has_infos = has_infos
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._steps = 0
        return np.zeros(17), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._steps += 1
        info: dict[str, Any] = {}
        if self._has_infos:
            info = {name: np.float64(self._steps) for name in INFO_NAMES}
            info["success"] = False
        return np.full(17, float(self._steps)), np.float64(self._steps), False, False, info


INFO_NAMES = ("x_position", "y_position", "x_velocity", "y_velocity", "forward", "control", "survive")


def work(rounds: int) -> None:
    for _ in range(rounds):
        pass


def rounds_in(work_s: float) -> int:
    """How many rounds take this long, at the speed of the quickest of some tries."""
    tried = 20_000
    taken_s = []
    for _ in range(20):
        begun = time.thread_time()
        work(tried)
        taken_s.append(time.thread_time() - begun)
    return max(1, round(tried * work_s / min(taken_s)))


def _picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


# The checker would warn of the memory that all observations share.
_ENVS = {
    "Frame-v0": Frame,
    "DrawnFrame-v0": DrawnFrame,
    "Cameras-v0": Cameras,
    "Work-v0": Work,
    "Uneven-v0": Uneven,
    "Infos-v0": Infos,
}
for _name, _class in _ENVS.items():
    gym.register(_name, entry_point=_class, disable_env_checker=True)
