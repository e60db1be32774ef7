"""TorchRL with simulators in other interpreters: ``PYTHON torchrl_.py env|wrapper|goal|pixels|parallel``.

``$GYM_SERVICE_ENVS`` names the entries. ``check_env_specs`` raises if a spec and the data differ. Prints the shape of a
rollout's observations as a line of JSON.
"""

import json
import sys

import gymnasium as gym
from torchrl.envs import GymEnv, GymWrapper, ParallelEnv, check_env_specs

import gym_service  # noqa: F401 - registers the ids

POLE = "gym_service:gym_service/Pole-v1"


def make():
    return GymEnv(POLE)


ENVS = {
    "env": make,
    "wrapper": lambda: GymWrapper(gym.make(POLE)),
    "goal": lambda: GymWrapper(gym.make("gym_service/Reach-v3")),
    "pixels": lambda: GymEnv(POLE, from_pixels=True, pixels_only=True),
    "parallel": lambda: ParallelEnv(2, make),
}


def main(kind):
    env = ENVS[kind]()
    env.set_seed(1)
    check_env_specs(env)
    rollout = env.rollout(10)
    leaf = rollout["pixels"] if kind == "pixels" else rollout["observation"]
    env.close()
    print(json.dumps({"shape": list(leaf.shape), "dtype": str(leaf.dtype)}))


if __name__ == "__main__":
    main(sys.argv[1])
