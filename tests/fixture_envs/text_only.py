"""``text_only:TextOnlyEnv``: renders only texts, and takes no other mode."""

import gymnasium as gym


class TextOnlyEnv(gym.Env):
    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        if render_mode not in (None, "ansi"):
            raise ValueError("no such render mode: %r" % render_mode)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 0.0, False, False, {}

    def render(self):
        return "text"
