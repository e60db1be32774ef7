"""Records a small LeRobot data set with random actions, from a simulator in another interpreter.

    PYTHON lerobot_dataset.py FOLDER

LeRobot's own Python runs it, where an envs.toml has ``PushT-v0``. It writes to the folder, which must not exist yet.
"""

import sys

import gymnasium as gym
from lerobot.datasets.lerobot_dataset import LeRobotDataset

import gym_service  # noqa: F401 - registers the ids

EPISODES, STEPS = 2, 12


def main(folder: str) -> None:
    env = gym.make("gym_service/PushT-v0")
    features = {
        "observation.image": {"dtype": "image", "shape": (96, 96, 3), "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (2,), "names": None},
        "action": {"dtype": "float32", "shape": (2,), "names": None},
    }
    fps = env.metadata["render_fps"]
    dataset = LeRobotDataset.create("local/pusht", fps=fps, features=features, root=folder, use_videos=False)
    env.action_space.seed(1)
    for seed in range(EPISODES):
        observation, _ = env.reset(seed=seed)
        for _ in range(STEPS):
            action = env.action_space.sample()
            seen = {"observation.image": observation["pixels"], "observation.state": observation["agent_pos"]}
            seen["observation.state"] = seen["observation.state"].astype("float32")
            dataset.add_frame({**seen, "action": action, "task": "push the T"})
            observation = env.step(action)[0]
        dataset.save_episode()
    dataset.finalize()
    env.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
