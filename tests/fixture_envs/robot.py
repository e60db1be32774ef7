"""Robots that LeRobot can use, and one that it cannot: entry points, by name. Gym 0.21 and up, Python 3.6 and up."""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

FRONT = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)


class RobotEnv(gym.Env):
    """Two cameras, the robot's own state, the state of the world; done when the actions add up to a large sum."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1 / 0.04}  # noqa: RUF012
    task_description = "lift the cube"

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        camera = gym.spaces.Box(0, 255, FRONT.shape, np.uint8)
        self.observation_space = gym.spaces.Dict(
            {
                "pixels": gym.spaces.Dict({"front": camera, "wrist": camera}),
                "agent_pos": gym.spaces.Box(-np.inf, np.inf, (3,), np.float64),
                "environment_state": gym.spaces.Box(-np.inf, np.inf, (2,), np.float64),
            }
        )

    def reset(self, *, seed=None, options=None):
        self.random = np.random.RandomState(seed)
        self.received_options = options
        self.told = 0.0
        return self.observation(), {}

    def step(self, action):
        self.told += float(np.sum(action))
        return self.observation(), self.told, self.told > 2, False, {"is_success": np.bool_(self.told > 2)}

    def observation(self):
        state = self.random.random_sample(3)
        return {"pixels": {"front": FRONT, "wrist": FRONT + 1}, "agent_pos": state, "environment_state": state[:2]}

    def render(self):
        return FRONT


class ModestEnv(gym.Env):
    """One vector, a reset() without options, a task that is not a text, and an unusual key for success."""

    metadata = {}  # noqa: RUF012
    task = RobotEnv
    _max_episode_steps = 5  # not Gymnasium's TimeLimit, which always passes options on

    def __init__(self, render_mode=None):
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)

    def seed(self, seed=None):
        pass

    def reset(self, seed=None):
        # gym 0.21's reset returns only an observation.
        return np.ones(3)

    def step(self, action):
        return np.ones(3), 1.0, False, {"solved": 1.0}
