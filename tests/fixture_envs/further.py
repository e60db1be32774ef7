"""An env whose methods take more arguments than Gymnasium's API has. Any gym or gymnasium, any Python."""

try:
    import gymnasium as gym

    IS_NEW = True
except ImportError:
    import gym

    IS_NEW = tuple(int(part) for part in gym.__version__.split(".")[:2]) >= (0, 26)


class FurtherEnv(gym.Env):
    observation_space = gym.spaces.Discrete(100)
    action_space = gym.spaces.Discrete(5)
    metadata = {"render_modes": ("rgb_array",), "render.modes": ("rgb_array",)}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def step(self, action, frame_skip=1, *more, **named):
        observation, info = action * frame_skip, {"more": list(more), "named": dict(named)}
        return (observation, 1.0, False, False, info) if IS_NEW else (observation, 1.0, False, info)

    if IS_NEW:

        def reset(self, task_id=0, *, seed=None, options=None, **named):
            return task_id, {"seed": seed, "options": options, "named": dict(named)}

        def render(self, camera="back", width=4):
            return [camera, width, self.render_mode]

    else:

        def seed(self, seed=None):
            return [seed]

        def reset(self, task_id=0, **named):
            return {"task_id": task_id, "named": dict(named)}

        def render(self, mode="human", width=4):
            return [mode, width]
