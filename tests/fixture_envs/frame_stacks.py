"""The frame stacks of gym and of gymnasium before 1.0, whose observations are LazyFrames. Python 3.6 and up."""

try:
    import gymnasium as gym
except ImportError:
    import gym


def make(num_stack=4, **kwargs):
    return gym.wrappers.FrameStack(gym.make("CartPole-v1", **kwargs), num_stack)


IS_OLD = gym.__name__ == "gym" and gym.__version__ < "0.24"  # it has no checker
gym.register("Stacked-v0", entry_point=make, **({} if IS_OLD else {"disable_env_checker": True}))
