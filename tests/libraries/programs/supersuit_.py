"""SuperSuit's usual chain, from a parallel env in another interpreter to PPO of Stable-Baselines3.

``PYTHON supersuit_.py learn|killed``; ``$AGENTS_PYTHON`` is the interpreter with the env. Prints its findings as one
line of JSON.
"""

import json
import os
import signal
import sys

import numpy as np
import supersuit
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

import gym_service
from gym_service.errors import ServerCrashed

COPIES, AGENTS, STEPS, TOTAL = 2, 3, 100, 2000


def chain():
    """The vec env, and the envs behind it, each in its own server."""
    env = gym_service.make_parallel(
        "spread",
        python=os.environ["AGENTS_PYTHON"],
        entry_point="mpe2:simple_spread_v3.parallel_env",
        kwargs={"max_cycles": 25},
    )
    env = supersuit.dtype_v0(supersuit.frame_stack_v1(env, 2), np.float32)
    single = supersuit.pettingzoo_env_to_vec_env_v1(env)
    vec_env = supersuit.concat_vec_envs_v1(single, COPIES, num_cpus=1, base_class="stable_baselines3")
    return vec_env, [env, *(one.par_env for one in vec_env.venv.vec_envs)]


class Watched(BaseCallback):
    """Counts the servers, and kills the last of them once it has been stepped."""

    def __init__(self, envs, is_killing):
        super().__init__()
        self.pids = {env.unwrapped.target["pid"] for env in envs}
        self._victim = envs[-1].unwrapped.target["pid"] if is_killing else None

    def _on_step(self):
        if self._victim and self.n_calls == 10:
            os.kill(self._victim, signal.SIGKILL)
        return True


def learn(is_killing):
    vec_env, envs = chain()
    set_random_seed(1)  # PPO's own ``seed`` would seed the vec env too, which has no seed() in SuperSuit 3.11
    model = PPO("MlpPolicy", vec_env, n_steps=STEPS, batch_size=STEPS, n_epochs=2, device="cpu")
    before = [one.clone() for one in model.policy.parameters()]
    watched = Watched(envs, is_killing)
    found = {"envs": vec_env.num_envs, "servers": len(watched.pids), "error": None}
    try:
        model.learn(TOTAL, callback=watched)
    except ServerCrashed as error:
        found.update(error=type(error).__name__, during=error.during, exit_code=error.exit_code)
    after = list(model.policy.parameters())
    found.update(
        steps=model.num_timesteps,
        moved=sum(not bool((one == other).all()) for one, other in zip(before, after, strict=True)),
        finite=all(bool(one.isfinite().all()) for one in after),
        rewards=[float(one["r"]) for one in model.ep_info_buffer or ()],
    )
    for env in envs:
        env.close()
    return found


print(json.dumps(learn(sys.argv[1] == "killed")))
