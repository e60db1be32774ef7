"""``faulty:FaultyEnv``: a simulator that dies, hangs, is late or leaves processes behind, on request.

A fault, by its name in FAULTS, happens once, before the env's state changes: in ``__init__`` (the kwargs ``on="make"``
and ``what``), in the next ``reset``, ``step``, ``render`` or ``close`` after ``arm(on, what)``, or at a signal after
``arm_signal(what)``. The result of a step shows which action it answers: it holds the step's number, the action, and an
image filled with the action, ``side`` pixels high and wide.

Knows gymnasium or gym 0.26, numpy, POSIX. Python 3.6 and up.
"""

import ctypes
import errno
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

LONG_S = 600
SLOW_S = 1.5
SIDE = 96  # the side of the image, in pixels


def kill(number):
    def fault():
        print("last words", flush=True)
        os.kill(os.getpid(), number)

    return fault


def crash():
    print("last words", flush=True)
    ctypes.string_at(0)


def leave(end):
    def fault():
        print("last words", flush=True)
        end()

    return fault


def sleep_in_c():
    """Sleep while no Python thread can run: a call through PyDLL does not release the GIL."""
    ctypes.PyDLL(None).sleep(LONG_S)


def spin_in_c():
    """The same, but computing: a regular expression with catastrophic backtracking."""
    re.match("(a*)*b", "a" * 64)


def spin_in_python():
    while True:
        pass


def sleep_in_python():
    time.sleep(LONG_S)


def print_much():
    """50 MB each on stdout and stderr, from Python and from a child."""
    line = "o" * 1023 + "\n"
    for _ in range(25 * 1024):
        sys.stdout.write(line)
        sys.stderr.write(line)
    sys.stdout.flush()
    many = "import os\nfor _ in range(400): os.write(1, b'c' * 65536); os.write(2, b'e' * 65536)"
    subprocess.check_call([sys.executable, "-c", many])


def leave_children(end):
    """Start a child of each kind, print their pids, then end in the given way."""

    def fault():
        pids = "children %d %d %d" % start_children()
        print(pids, flush=True)
        end(pids)

    return fault


def refuse(why):
    raise ValueError(why)


FAULTS = {
    "SIGKILL": kill(signal.SIGKILL),
    "SIGABRT": leave(os.abort),
    "SIGSEGV": crash,
    "os._exit": leave(lambda: os._exit(7)),
    "sys.exit": leave(lambda: sys.exit(3)),
    "SIGSTOP": kill(signal.SIGSTOP),
    "asleep in C": sleep_in_c,
    "spinning in C": spin_in_c,
    "spinning in Python": spin_in_python,
    "asleep in Python": sleep_in_python,
    "slow": lambda: time.sleep(SLOW_S),
    "much output": print_much,
    "fork": os.fork,  # parent and child both continue
    "children, then os._exit": leave_children(lambda pids: os._exit(7)),
    "children, then asleep": leave_children(lambda pids: sleep_in_python()),
    "children, then ValueError": leave_children(refuse),
}


def sleeping_child(setsid, deaf=True):
    """The pid of a child that does not end by itself, or by SIGTERM or SIGHUP."""
    pid = os.fork()
    if pid == 0:
        if setsid:
            os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) if deaf else ():
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(LONG_S)
    return pid


def daemon():
    """The pid of a grandchild in its own session, whose parent has ended."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.write(write_fd, b"%d" % sleeping_child(setsid=True))
        os._exit(0)
    os.waitpid(pid, 0)
    try:
        return int(os.read(read_fd, 32))
    finally:
        os.close(read_fd)
        os.close(write_fd)


def start_children():
    """The pids of one child of each kind: in the same process group, in its own session, a daemon."""
    return sleeping_child(setsid=False), sleeping_child(setsid=True), daemon()


class FaultyEnv(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode="rgb_array", on="", what="", side=SIDE):
        self.render_mode = render_mode
        self.image_shape = (side, side, 3)
        self.action_space = gym.spaces.Box(-(2**31), 2**31 - 1, (2,), np.int64)
        self.observation_space = gym.spaces.Dict(
            {
                "answers": gym.spaces.Box(-(2**31), 2**31 - 1, (3,), np.int64),
                "image": gym.spaces.Box(0, 255, self.image_shape, np.uint8),
            }
        )
        self.armed = {on: what}
        self.slow_s = 0.0
        self.number = 0
        self.kept = None
        self.do("make")

    def arm(self, on, what):
        self.armed[on] = what

    def slow_down(self, slow_s):
        """Make the next step late by this time: it computes its answer, then waits."""
        self.slow_s = slow_s

    def do(self, on):
        if on in self.armed:
            FAULTS[self.armed.pop(on)]()

    def reset(self, seed=None, options=None):
        self.do("reset")
        self.number = 0
        return self.observation((0, 0)), {}

    def step(self, action):
        self.do("step")
        self.number += 1
        slow_s, self.slow_s = self.slow_s, 0.0
        if slow_s:
            time.sleep(slow_s)
        return self.observation(action), float(action[0]), False, False, {"number": self.number}

    def render(self):
        self.do("render")
        return np.full(self.image_shape, self.number % 256, np.uint8)

    def close(self):
        self.do("close")

    def observation(self, action):
        answers = np.array([self.number, action[0], action[1]], np.int64)
        return {"answers": answers, "image": np.full(self.image_shape, int(action[0]) % 256, np.uint8)}

    def echo(self, value):
        return value

    def keep(self, value):
        self.kept = value

    def now(self):
        """The wall-clock time in this process."""
        return time.time()

    def say(self, line):
        print(line, flush=True)

    def measure(self, value):
        """The size of the received value, in bytes."""
        return len(value)

    def arm_signal(self, what):
        """Make SIGUSR1 cause a fault in the main thread, so also while the server waits for a call."""
        signal.signal(signal.SIGUSR1, lambda number, frame: FAULTS[what]())

    def standing(self):
        """Its session, whether it leads a process group, and the result of opening the terminal."""
        try:
            os.close(os.open("/dev/tty", os.O_RDWR))
            terminal = "there is one"
        except OSError as error:
            terminal = errno.errorcode[error.errno]
        return os.getsid(0), os.getpgid(0) == os.getpid(), terminal

    def start_children(self):
        return list(start_children())
