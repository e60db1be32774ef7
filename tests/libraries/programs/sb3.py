"""Stable-Baselines3 with simulators in other interpreters: ``PYTHON sb3.py check|play|her|video [start method]``.

``$GYM_SERVICE_ENVS`` names the entries. Prints its findings as one line of JSON.
"""

import hashlib
import json
import sys
import warnings

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO, SAC, HerReplayBuffer
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecVideoRecorder

import gym_service  # noqa: F401 - registers the ids

# With the prefix, spawned workers, which never ran this import, know the id.
POLE = "gym_service:gym_service/Pole-v1"
REACH = "gym_service/Reach-v3"


def check():
    """The warnings of check_env, by env; an error of check_env ends the program.

    Its own warnings are UserWarnings. numpy's warnings about gym 0.26 point at the same lines, which made the calls.
    """
    complaints = {}
    for env_id in (POLE, REACH):
        with gym.make(env_id) as env, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_env(env)
        own = [one for one in caught if one.category is UserWarning and "stable_baselines3" in one.filename]
        complaints[env_id] = [str(one.message) for one in own]
    return complaints


def play(start_method):
    """A digest of a seeded run of two envs, and the number of steps that PPO has learned from."""
    where = {"vec_env_cls": DummyVecEnv}
    if start_method != "none":
        where = {"vec_env_cls": SubprocVecEnv, "vec_env_kwargs": {"start_method": start_method}}
    envs = make_vec_env(POLE, n_envs=2, **where)
    envs.seed(3)
    envs.action_space.seed(1)
    seen = [envs.reset()]
    for _ in range(60):
        actions = np.array([envs.action_space.sample() for _ in range(2)])
        seen += envs.step(actions)[:3]
    # SubprocVecEnv stacks float64 rewards where DummyVecEnv has a float32 buffer.
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part, np.float64).tobytes() for part in seen)).hexdigest()
    model = PPO("MlpPolicy", envs, n_steps=64, batch_size=64, n_epochs=2, device="cpu", seed=1).learn(256)
    envs.close()
    return {"digest": digest, "timesteps": model.num_timesteps}


def her():
    """The number of steps that SAC with hindsight has learned from, and the rewards that the simulator computes."""
    replay = {"n_sampled_goal": 4, "goal_selection_strategy": "future"}
    model = SAC(
        "MultiInputPolicy",
        gym.make(REACH),
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs=replay,
        learning_starts=100,
        batch_size=32,
        device="cpu",
        seed=1,
    )
    model.learn(150)
    near, far = np.zeros((2, 3)), np.array([[0.01, 0, 0], [1, 0, 0]])
    (rewards,) = model.env.env_method("compute_reward", near, far, [{}] * 2)
    model.env.close()
    return {"timesteps": model.num_timesteps, "updates": model._n_updates, "rewards": rewards.tolist()}


def video(folder):
    """Write a video of twenty steps of two envs to the folder."""
    envs = make_vec_env(POLE, n_envs=2, vec_env_cls=DummyVecEnv, env_kwargs={"render_mode": "rgb_array"})
    envs = VecVideoRecorder(envs, folder, record_video_trigger=lambda step: step == 0, video_length=20)
    envs.reset()
    for _ in range(25):
        envs.step(np.array([0, 1]))
    envs.close()
    return {"recorded": True}


if __name__ == "__main__":
    print(json.dumps({"check": check, "play": play, "her": her, "video": video}[sys.argv[1]](*sys.argv[2:])))
