"""``Reporting-v0``: reports the state of its process from within. Gym 0.21 and up, Python 3.6 and up."""

import gc
import os
import signal
import subprocess
import sys

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

IS_NEW = gym.__name__ == "gymnasium" or tuple(int(part) for part in gym.__version__.split(".")[:2]) >= (0, 26)


class ReportingEnv(gym.Env):
    metadata = {"render_modes": [], "render.modes": []}  # noqa: RUF012

    def __init__(self):
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.goal = np.arange(3)
        self._secret = 1

    def reset(self, *, seed=None, options=None):
        observation = np.zeros(1)
        return (observation, {}) if IS_NEW else observation

    def step(self, action):
        result = np.zeros(1), 0.0, False, {}
        return (*result[:3], False, {}) if IS_NEW else result

    def modules(self):
        """The file of each loaded module, by name, without modules that have no file."""
        return {
            name: os.path.abspath(module.__file__)
            for name, module in list(sys.modules.items())
            if getattr(module, "__file__", None)
        }

    def path(self):
        return list(sys.path)

    def environ(self):
        return dict(os.environ)

    def process(self):
        return {
            "cwd": os.getcwd(),
            "argv": list(sys.argv),
            "executable": sys.executable,
            "prefix": sys.prefix,
            "pid": os.getpid(),
            "flags": [sys.flags.isolated, sys.flags.ignore_environment, sys.flags.no_user_site],
        }

    def names_in(self, folder):
        return sorted(os.listdir(folder))

    def fds_of_a_child(self):
        """The target of each fd of a child that was started without closing any."""
        script = "import os, sys; sys.stdout.write(repr({fd: os.readlink('/proc/self/fd/' + fd) for fd in LIST}))"
        script = script.replace(
            "LIST", "[fd for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)]"
        )
        return subprocess.check_output([sys.executable, "-c", script], close_fds=False).decode()

    def add(self, one, other=0):
        return one + other

    def fail(self):
        raise LookupError("nothing here")

    def fork(self, own_session):
        """The pid of a child that outlives this env unless another process ends it."""
        pid = os.fork()
        if pid == 0:
            if own_session:
                os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        return pid

    @property
    def reads(self):
        self._reads = getattr(self, "_reads", 0) + 1
        return self._reads

    @property
    def broken(self):
        raise RuntimeError("a property that fails")


class Doubler(gym.Wrapper):
    """Doubles the reward and adds an attribute and a method."""

    def __init__(self, env):
        gym.Wrapper.__init__(self, env)
        self.factor = 2

    def doubled(self):
        return self.factor


def count_modules(env, prefix, minimum=0):
    """A function that an entry names by module and name."""
    return [type(env.unwrapped).__name__, minimum, sum(name.startswith(prefix) for name in sys.modules)]


def make_env(flavour="plain"):
    """An entry point that is a function."""
    env = ReportingEnv()
    env.flavour = flavour
    return env


gym.register(id="Reporting-v0", entry_point="reporting:ReportingEnv", max_episode_steps=5)


def collects_garbage(env):
    return gc.isenabled()


def finders_of(env, prefix):
    """The finders whose module's name begins so. A finder may be a class."""
    modules = [getattr(finder, "__module__", "") for finder in sys.meta_path]
    return [name for name in modules if name.startswith(prefix)]
