"""``Misbehaving-v0``: an env without faults until a test requests one.

A fault, by its name in DEEDS, happens once: at the next ``reset``, ``step``, … after ``misbehave(on, what)``, or in
``__init__`` (the kwargs ``on`` and ``what``), or at import (the variable MISBEHAVE). It happens before the env's state
changes, so the next call must return what it would have returned without the fault.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import gymnasium as gym
import numpy as np
import odd_values

LIBC = ctypes.CDLL(None)


class TwoArguments(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)


class BadText(ValueError):
    def __str__(self):
        return 1 / 0


class OwnWarning(RuntimeWarning):
    pass


def print_in_python():
    print("out of Python")
    print("x" * 100000)
    sys.stdout.buffer.write(b"gS\x01\xff\x00 raw\n")
    print("to stderr", file=sys.stderr, flush=True)
    sys.stdout.flush()


def print_in_c():
    LIBC.puts(b"out of C's puts")
    LIBC.printf(b"out of C's printf %d\n", 7)
    LIBC.fflush(None)
    os.write(1, b"gS\x01\x41 straight to fd 1\n")


def print_in_a_child():
    subprocess.check_call([sys.executable, "-c", "print('out of a child')"])
    os.system("echo out of a shell; cat")


def read_input():
    try:
        input("a question: ")
    except EOFError:
        pass
    assert sys.stdin.read() == ""


def close_stdout():
    if not sys.stdout.closed:
        sys.stdout.close()
        os.close(0)


def raise_(make_error):
    def raiser():
        raise make_error()

    return raiser


def raise_local():
    class Local(RuntimeError):
        pass

    raise Local("of a local class")


def raise_chained():
    try:
        {}["the first"]
    except KeyError as error:
        raise OSError(2, "No such file", "mesh.obj") from error


def raise_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.warn("this is how it ends", DeprecationWarning, stacklevel=1)


def raise_a_group():
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])  # noqa: F821 - new in Python 3.11


def recurse():
    recurse()


def decode():
    b"\xff".decode("utf-8")


def warn():
    warnings.warn("a user's warning", stacklevel=1)
    warnings.warn("a runtime warning", RuntimeWarning, stacklevel=1)
    warnings.warn("a warning of its own", OwnWarning, stacklevel=1)
    gym.logger.warn("said by the logger of Gymnasium")


def last_words(text, then):
    def deed():
        print(text, flush=True)
        then()

    return deed


def leave_a_child():
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


DEEDS = {
    "print in Python": print_in_python,
    "print in C": print_in_c,
    "print in a child": print_in_a_child,
    "read input": read_input,
    "close stdout": close_stdout,
    "ValueError": raise_(lambda: ValueError("no such thing")),
    "TypeError": raise_(lambda: TypeError("of another type")),
    "KeyError": raise_(lambda: KeyError("absent")),
    "StopIteration": raise_(lambda: StopIteration("enough")),
    "ImportError": raise_(lambda: ImportError("late import", name="pygame")),
    "two arguments": raise_(lambda: TwoArguments(5, "two")),
    "a bad text": raise_(BadText),
    "10 MB": raise_(lambda: RuntimeError("begin " + "m" * 10**7 + " end")),
    "surrogates": raise_(lambda: ValueError("half \udc80")),
    "ResetNeeded": raise_(lambda: gym.error.ResetNeeded("reset() first")),
    "InvalidAction": raise_(lambda: gym.error.InvalidAction("no such action")),
    "MemoryError": raise_(MemoryError),
    "a local class": raise_local,
    "chained": raise_chained,
    "a warning": raise_a_warning,
    "a group": raise_a_group,
    "recursion": recurse,
    "UnicodeDecodeError": decode,
    "warn": warn,
    "sys.exit": last_words("last words", lambda: sys.exit(3)),
    "os._exit": last_words("last words", lambda: os._exit(7)),
    "SIGKILL": last_words("last words", lambda: os.kill(os.getpid(), signal.SIGKILL)),
    "SIGSEGV": last_words("last words", lambda: ctypes.string_at(0)),
    "KeyboardInterrupt": last_words("last words", raise_(KeyboardInterrupt)),
    "hang": last_words("still here", lambda: time.sleep(600)),
    "leave a child": leave_a_child,
}


class MisbehavingEnv(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode="rgb_array", on="", what=""):
        self.render_mode = render_mode
        self.action_space = gym.spaces.Discrete(3)
        self.observation_space = gym.spaces.Dict(
            {"x": gym.spaces.Box(-np.inf, np.inf, (3,), np.float32), "count": gym.spaces.Discrete(10**6)}
        )
        self.armed = {}
        self.results = {}
        self.count = 0
        if on:
            self.misbehave(on, what)
        self.do("init")

    def misbehave(self, on, what):
        self.armed[on] = what

    def result(self, field, what):
        """Replace one ``field`` of the next step's (or render's) result by the value of this name in ``unusual``.

        The field ``first`` is the observation of the next reset.
        """
        self.results[field] = what

    def do(self, name):
        if name in self.armed:
            DEEDS[self.armed.pop(name)]()

    def reset(self, *, seed=None, options=None):
        self.do("reset")
        super().reset(seed=seed)
        self.count = 0
        observation = self.observation()
        if "first" in self.results:
            observation = unusual("observation", self.results.pop("first"))
        return observation, {"options": options}

    def step(self, action):
        self.do("step")
        if not self.action_space.contains(action):
            raise AssertionError("%r (%s) is no action" % (action, type(action).__name__))
        self.count += 1
        observation, reward = self.observation(), float(self.np_random.random())
        given = {"observation": observation, "reward": reward, "info": {"count": self.count}}
        for field in set(self.results) & set(given):
            given[field] = unusual(field, self.results.pop(field))
        return given["observation"], given["reward"], False, False, given["info"]

    def render(self):
        self.do("render")
        if "frames" in self.results:
            return unusual("frames", self.results.pop("frames"))
        return odd_values.frames(1, (4, 5, 3))[0] + np.uint8(self.count)

    def close(self):
        self.do("close")

    def observation(self):
        return {"x": self.np_random.random(3).astype(np.float32), "count": self.count}

    def echo(self, value):
        return value

    def unsendable(self):
        return {"deep": [1, threading.Lock()]}

    def pid(self):
        return os.getpid()


def unusual(field, what):
    if field == "observation" and what in odd_values.OBSERVATIONS:
        return odd_values.OBSERVATIONS[what]()
    if field == "reward" and what in odd_values.REWARDS:
        return odd_values.REWARDS[what]()
    return UNUSUAL[what]()


UNUSUAL = {
    "a lock in the observation": lambda: {"x": threading.Lock(), "count": 1},
    "a lock": threading.Lock,
    "a lock in the info": lambda: {"fine": 1, "nested": {"lock": [threading.Lock()]}},
    "a large info": lambda: {"small": np.zeros(10**6, np.uint8), "big": [np.zeros(70 * 2**20, np.uint8)]},
    "an info of many": lambda: {str(index): np.zeros((20 + index) * 2**20, np.uint8) for index in range(4)},
    "300 frames": lambda: odd_values.frames(300, (480, 640, 3)),
    "a giant among frames": lambda: [np.zeros(4, np.uint8), np.zeros(70 * 2**20, np.uint8), np.zeros(4, np.uint8)],
    "a lock among frames": lambda: [*odd_values.frames(40, (480, 640, 3)), threading.Lock()],
    "no frames": list,
}

gym.register(id="Misbehaving-v0", entry_point="misbehaving:MisbehavingEnv", disable_env_checker=True)
if os.environ.get("MISBEHAVE"):
    DEEDS[os.environ["MISBEHAVE"]]()
