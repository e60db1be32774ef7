"""Gymnasium's RecordVideo with an env in another interpreter. Prints the size and the frames of its video as JSON."""

import json
import os
import tempfile

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np

import gym_service  # noqa: F401 - registers the ids

STEPS = 25


def main():
    with tempfile.TemporaryDirectory() as folder:
        env = gym.make("gym_service/Pole-v1", render_mode="rgb_array")
        env = gym.wrappers.RecordVideo(env, folder, episode_trigger=lambda episode: episode == 0)
        env.reset(seed=1)
        over, steps = False, 0
        while not over and steps < STEPS:
            _, _, over, _, _ = env.step(env.action_space.sample())
            steps += 1
        env.close()
        (name,) = os.listdir(folder)
        frames = imageio.imread(os.path.join(folder, name), plugin="FFMPEG")
        differ = float(np.abs(frames[0].astype(int) - frames[-1]).mean())
        print(json.dumps({"steps": steps, "frames": len(frames), "shape": frames[0].shape, "differ": differ}))


if __name__ == "__main__":
    main()
