#!/usr/bin/env bash
# Gymnasium 1.4.0: RescaleAction turns an action of its own space into one outside of the env's space.
#
# Guess before the run: RescaleAction(env, -1.0, 1.0) maps -1 to the low and 1 to the high of the env's Box. So each
# action of the wrapper's space becomes one of the env's space, and an env that asserts action_space.contains(action)
# never fails.
# Seen: the affine map is rounded, and an action at the edge can end a little beyond a joint's limit. With the joint
# limits of a Franka Panda arm as float32, -1 does; as float64, 1 does. Round bounds that are alike on both sides, such
# as ±2 of Pendulum-v1, are met.
#
# Output seen:
#   ±2, float32: -1 is inside, 1 is inside
#   Panda, float32: -1 is outside at joint 6 by 3.9e-08, 1 is inside
#   Panda, float64: -1 is inside, 1 is outside at joint 4 by 1.5e-16
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-python3.12}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gymnasium==1.4.0 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import RescaleAction

# Radians, from the arm's data sheet.
LOW = [-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973]
HIGH = [2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]


class Arm(gymnasium.Env):
    """It says whether the last action was in its space, and where it was not."""

    observation_space = Box(-1, 1, (1,))

    def __init__(self, low, high, dtype):
        self.action_space = Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        space = self.action_space
        assert action.dtype == space.dtype
        beyond = np.maximum(space.low - action, action - space.high)
        joint = int(beyond.argmax())
        where = "inside" if space.contains(action) else f"outside at joint {joint + 1} by {beyond[joint]:.1e}"
        return np.zeros(1, np.float32), 0.0, False, False, {"where": where}


def show(words, env):
    env = RescaleAction(env, -1.0, 1.0)
    env.reset()
    found = []
    for number in (-1, 1):
        action = np.full(env.action_space.shape, number, env.action_space.dtype)
        assert env.action_space.contains(action)
        found.append(f"{number} is {env.step(action)[4]['where']}")
    print(f"{words}: {', '.join(found)}")


show("±2, float32", Arm([-2], [2], np.float32))
show("Panda, float32", Arm(LOW, HIGH, np.float32))
show("Panda, float64", Arm(LOW, HIGH, np.float64))
PYTHON
diff "$folder/output" - <<'EXPECTED'
±2, float32: -1 is inside, 1 is inside
Panda, float32: -1 is outside at joint 6 by 3.9e-08, 1 is inside
Panda, float64: -1 is inside, 1 is outside at joint 4 by 1.5e-16
EXPECTED
