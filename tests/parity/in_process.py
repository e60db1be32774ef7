"""Plays an env inside its own interpreter, by path, with nothing of gym-service: what the remote play must equal.

    PYTHON in_process.py JOBS OUTPUT CANON

JOBS and OUTPUT are files: a list of jobs in JSON; for each job a list of lines, or an error's text, in JSON. CANON is
the path of tests/canon.py. Python 3.6 and up, with numpy and the target's gym. Says what an old gym's answers mean in
Gymnasium's terms, and says it independently of the adapters that it is the measure of.
"""

import importlib
import importlib.util
import json
import sys
import traceback
import warnings


def main(jobs_path, output_path, canon_path):
    warnings.simplefilter("ignore")
    spec = importlib.util.spec_from_file_location("canon", canon_path)
    canon = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(canon)
    plays = [played(canon, job) for job in canon.read_jobs(jobs_path)]
    with open(output_path, "w", encoding="utf-8") as file:
        json.dump(plays, file)


def played(canon, job):
    """The lines of one job, or what it raised as a text."""
    try:
        for name in job["imports"]:
            importlib.import_module(name)
        library = importlib.import_module(job["library"])
        version = tuple(int(part) for part in library.__version__.split(".")[:2])
        is_new = job["library"] == "gymnasium" or version >= (0, 26)
        kwargs = dict(job["kwargs"])
        if is_new and job["render_mode"]:
            kwargs["render_mode"] = job["render_mode"]
        env = library.make(job["id"], **kwargs)
        side = NewSide(env) if is_new else OldSide(env, job["render_mode"], asks_for_info=version >= (0, 22))
        result = list(canon.play(job, side.reset, side.step, side.render))
        env.close()
    except Exception:  # noqa: BLE001 - whatever an env raises is the outcome of its play
        return traceback.format_exc()
    return result


class NewSide:
    """gymnasium, and gym from 0.26 on."""

    def __init__(self, env):
        self.env = env
        self.render = env.render

    def reset(self, seed, options):
        if options is None:
            return self.env.reset() if seed is None else self.env.reset(seed=seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        return modern(self.env.step(action))


class OldSide:
    """gym before 0.26: ``asks_for_info`` from 0.22 on, where reset takes a seed."""

    def __init__(self, env, render_mode, asks_for_info):
        self.env = env
        self.render_mode = render_mode
        self.asks_for_info = asks_for_info

    def reset(self, seed, options):
        if self.asks_for_info:
            return self.env.reset(seed=seed, options=options, return_info=True)
        if seed is not None:
            self.env.seed(seed)
        return self.env.reset(), {}

    def step(self, action):
        return modern(self.env.step(action))

    def render(self):
        return self.env.render(mode=self.render_mode)


def modern(result):
    """Four values mean: an end by the clock is truncated, and any other is terminated."""
    if len(result) == 5:
        return result
    observation, reward, done, info = result
    by_the_clock = bool(done) and bool(info.get("TimeLimit.truncated"))
    return observation, reward, bool(done) and not by_the_clock, by_the_clock, info


if __name__ == "__main__":
    main(*sys.argv[1:])
