#!/usr/bin/env bash
# Gymnasium 1.4.0 with mujoco 3.8.1: a deep copy of a MuJoCo env does not go on from the state that was copied.
#
# Guess before the run: copy.deepcopy(env), for instance to look ahead before a step, gives a second env in the same
# state, and the same actions give the same results in both. So it is for CartPole-v1.
# Seen: the copy of HalfCheetah-v5 is at time 0 in the initial pose without noise, and its generator is another one.
# Nothing is raised or warned of: the wrappers of gymnasium.make are copied with their state, so step() is allowed
# without a reset(), and the TimeLimit counts on. MuJoCo envs are EzPickle: what is copied or pickled is only the
# arguments of the constructor. So pickle.loads(pickle.dumps(env)) gives such an env too.
#
# Output seen:
#   CartPole-v1, copied after 5 steps: the next 10 steps are alike
#   HalfCheetah-v5, copied after 5 steps: the next 10 steps differ
#   time of the original 0.25, of the copy 0
#   the copy is in the initial pose: True
#   the TimeLimit of both has counted 5 and 5 steps
#   the generators are alike: False
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-python3.12}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gymnasium==1.4.0 mujoco==3.8.1 numpy==2.5.5 imageio==2.37.2 packaging==26.0
MUJOCO_GL=disabled "$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import copy

import gymnasium
import numpy as np


def copied(env_id):
    """An env after a seeded reset and 5 steps, and its deep copy."""
    env = gymnasium.make(env_id)
    env.reset(seed=1)
    env.action_space.seed(1)
    for _ in range(5):
        env.step(env.action_space.sample())
    return env, copy.deepcopy(env)


for env_id in ("CartPole-v1", "HalfCheetah-v5"):
    env, other = copied(env_id)
    actions = [env.action_space.sample() for _ in range(10)]
    results = [[each.step(action)[:2] for action in actions] for each in (env, other)]
    alike = all(np.array_equal(a, b) and x == y for (a, x), (b, y) in zip(*results))
    print(f"{env_id}, copied after 5 steps: the next 10 steps {'are alike' if alike else 'differ'}")

env, other = copied("HalfCheetah-v5")
print(f"time of the original {env.unwrapped.data.time:g}, of the copy {other.unwrapped.data.time:g}")
print("the copy is in the initial pose:", np.array_equal(other.unwrapped.data.qpos, other.unwrapped.init_qpos))
print(f"the TimeLimit of both has counted {env._elapsed_steps} and {other._elapsed_steps} steps")
print("the generators are alike:", env.unwrapped.np_random.random() == other.unwrapped.np_random.random())
PYTHON
diff "$folder/output" - <<'EXPECTED'
CartPole-v1, copied after 5 steps: the next 10 steps are alike
HalfCheetah-v5, copied after 5 steps: the next 10 steps differ
time of the original 0.25, of the copy 0
the copy is in the initial pose: True
the TimeLimit of both has counted 5 and 5 steps
the generators are alike: False
EXPECTED
