"""``arms/Reach-v0``: a simulator that works. The entry that names it is broken."""

import os
import subprocess
import sys

import gymnasium
import numpy as np

VERSION = 3


class Reach(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array", "ansi"]}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, joints=3, render_mode=None):
        assert render_mode is None or render_mode in self.metadata["render_modes"]
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.zeros(3, np.float32), 0.0, False, False, {}

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


class Numpy1(Reach):
    """Written for numpy 1."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.float_(0) * np.zeros(3, np.float32), {}


class Numpy1Made(Reach):
    def __init__(self, **given):
        super().__init__(**given)
        self.zero = np.float_(0)


class NoLibrary(Reach):
    """Loads a library of OpenGL that this machine does not have."""

    def __init__(self, **given):
        import ctypes

        super().__init__(**given)
        ctypes.CDLL("libOSMesa.so.99")


class NoDrawing(Reach):
    """Raises as the renderers of gym 0.21 do: several lines, of which the first is empty."""

    def render(self):
        try:
            import no_such_drawing  # noqa: F401
        except ImportError as error:
            raise ImportError(
                """
    Cannot import no_such_drawing.
    HINT: you can install it.
    """
            ) from error


class NoOpenGL(Reach):
    """Raises as mujoco does if it cannot load OpenGL."""

    def render(self):
        raise RuntimeError("an OpenGL platform library has not been loaded into this process")


class Window(Reach):
    """Opens a window when it is made."""

    def __init__(self, **given):
        import pygame

        super().__init__(**given)
        pygame.display.init()
        pygame.display.set_mode((8, 8))


class Home(Reach):
    def __init__(self):
        super().__init__()
        os.environ["ROBOT_HOME"]


class Scene(Reach):
    def __init__(self, scene, joints=3):
        super().__init__(joints)
        self.scene = scene


class Meshes(Reach):
    def reset(self, *, seed=None, options=None):
        with open("meshes/arm.xml"):
            return super().reset(seed=seed)


class Program(Reach):
    def __init__(self):
        super().__init__()
        subprocess.check_call(["no-such-physics"])


class Gpu(Reach):
    def __init__(self):
        raise RuntimeError("Found no NVIDIA driver on your system.")  # as torch says it


class Exits(Reach):
    def __init__(self):
        sys.exit("accept the license first: set ARMS_LICENSE=yes")


class Aborts(Reach):
    def step(self, action):
        print("physics: the state is not finite", file=sys.stderr, flush=True)
        os.abort()


class OldResults(Reach):
    """Returns fewer values than any gym does."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]

    def step(self, action):
        return super().step(action)[:3]

    def render(self):
        return None


class NoLicense(Reach):
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("the license server does not answer")


gymnasium.register("arms/Reach-v0", Reach)
