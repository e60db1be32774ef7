"""Makes the calls of a trace on an env in its own interpreter, and digests what comes back.

Part of ``reference_run.py``, which loads it by path and whose contract says what goes in and out. It knows rows as data
and an env with the API that it speaks. It never knows gym-service, but for the digest: that one file imports nothing of
it, and is the one meaning of "the same values". Python 3.6 and up.
"""

import importlib.util
import os

DIGEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "protocol", "value_digest.py")


def replay(trajectory, side, task, output, named):
    """Make the calls of a task, into its output. ``named`` finds what ``module:function`` names."""
    spec = importlib.util.spec_from_file_location("gym_service_value_digest", DIGEST)
    value_digest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(value_digest)
    digest = value_digest.RollingDigest()
    digest.value = bytes.fromhex(task["digest"])
    calls = Calls(side, named)

    def perform(name, data):
        return calls.make(name, [trajectory.from_data(part, side.graph_class()) for part in data])

    for number, answer in enumerate(trajectory.replay(task["calls"], perform, digest)):
        summary, results, raised = answer
        output["answers"].append([summary.hex(), raised])
        if number == task["shown"]:
            if results is not None:
                found = trajectory.named_items(task["calls"][number][0], results)
                output["items"] = [[*item[1:4], trajectory.full_bytes(item[4])] for item in found]
            return
    output["digest"] = digest.value.hex()
    side.env.close()


class Calls:
    """The calls of an env by their names. Each gives its results as a tuple."""

    def __init__(self, side, named):
        self.side = side
        self.env = side.env
        self.named = named

    def make(self, name, arguments):
        """One call."""
        return getattr(self, name)(*arguments)

    def reset(self, seed, options):
        result = self.side.reset(seed, options)
        return result if type(result) is tuple and len(result) == 2 else (result,)

    def step(self, action):
        result = self.side.step(action)
        return result if type(result) is tuple and len(result) == 5 else (result,)

    def render(self):
        return (self.side.render(),)

    def set(self, name, value, force):
        holder = self.holder(name)
        if holder is None and not force:
            return (False,)
        setattr(self.env.unwrapped if holder is None else holder, name, value)
        return (True,)

    def call(self, name, args, kwargs):
        holder = self.holder(name)
        return (getattr(self.env.unwrapped if holder is None else holder, name)(*args, **kwargs),)

    def function(self, reference, args, kwargs):
        return (self.named(reference)(self.env, *args, **kwargs),)

    def holder(self, name):
        """The outermost wrapper, or else the bare env, that has an attribute itself; None where nobody has."""
        env = self.env
        while any(cls.__name__ == "Wrapper" and cls.__module__.endswith(".core") for cls in type(env).__mro__):
            if name in vars(env) or hasattr(type(env), name):
                return env
            env = env.env
        return env if hasattr(env, name) else None
