"""``counted:CountedEnv``: a simulator that records its imports, and reports the state of its process.

At each import it appends a line with its pid to the file that COUNTED_IN names, and then does what COUNTED names: see
DEEDS. Knows gymnasium or gym, numpy. Python 3.6 and up.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

IMPORTED_IN = os.getpid()
with open(os.environ["COUNTED_IN"], "a") as _file:
    _file.write("%d\n" % IMPORTED_IN)
print("imported", flush=True)


def seed():
    random.seed(7)
    np.random.seed(7)
    random.random()


def draw():
    for _ in range(1000):
        random.random()
        np.random.rand()


def start_thread():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def start_process():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def compute():
    """Make OpenBLAS start its threads."""
    matrix = np.ones((600, 600))
    return float((matrix @ matrix)[0, 0])


def fail():
    raise ImportError("late import")


def hang():
    print("still here", flush=True)
    time.sleep(600)


def leave(number):
    def end():
        print("last words", flush=True)
        number()

    return end


DEEDS = {
    "seed": seed,
    "draw": draw,
    "thread": start_thread,
    "process": start_process,
    "compute": compute,
    "fail": fail,
    "hang": hang,
    "os._exit": leave(lambda: os._exit(7)),
    "sys.exit": leave(lambda: sys.exit(3)),
    "warn": lambda: warnings.warn("an old simulator", UserWarning, stacklevel=1),
}

OPENED = open(__file__, "rb")  # noqa: SIM115 - a file that is open when the servers are forked

for _deed in os.environ.get("COUNTED", "").split():
    DEEDS[_deed]()


class CountedEnv(gym.Env):
    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(-1e9, 1e9, (1,), np.float64)

    def reset(self, seed=None, options=None):
        return np.zeros(1), {}

    def step(self, action):
        return np.zeros(1), 0.0, False, False, {}

    def chance(self):
        """Draws from the global random generators."""
        return random.random(), float(np.random.rand())

    def state(self):
        """The state of this process, as far as a fork could have changed it."""
        numbers = [signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP]
        return {
            "pid": os.getpid(),
            "argv": sys.argv[1:],
            "program": os.path.basename(sys.argv[0]),
            "number of fds": len(os.listdir("/proc/self/fd")),
            "cwd": os.getcwd(),
            "signals": [str(signal.getsignal(number)) for number in numbers],
            "blocked signals": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "leads its process group": os.getpgid(0) == os.getpid(),
            "path": sys.path,
            "modules": sorted(name for name in sys.modules if "forkserver" in name or "guardian" in name),
            "environ": dict(os.environ),
            "file": os.pread(OPENED.fileno(), 3, 0),
            "threads": threading.active_count(),
            "filters": [str(entry) for entry in warnings.filters],
        }

    def say(self, line):
        print(line, flush=True)

    def multiply(self):
        return compute()
