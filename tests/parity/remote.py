"""Plays an env through gym_service: the other half of ``in_process.py``.

As a program, for a client that is not the interpreter of the tests::

    PYTHON remote.py JOBS OUTPUT CANON TARGET

Knows jobs and gym_service.make. Python 3.10 and up.
"""

import importlib.util
import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import gym_service

ENVS = Path(__file__).absolute().parent.parent / "envs"


def played(canon: ModuleType, job: dict[str, Any], python: Path | None, **where: Any) -> list[str]:
    """The lines of one job, played in the target behind a bridge, or by the server at an ``address``.

    ``where`` has more keys of an entry, or others.
    """
    if python:
        where = {"python": str(python), "pythonpath": [str(ENVS)], **where}
    kwargs = dict(job["kwargs"])
    if job["render_mode"]:
        kwargs["render_mode"] = job["render_mode"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the target's own checker says of an env is not compared
        env = gym_service.make(
            job["id"],
            imports=job["imports"],
            kwargs=kwargs,
            api=job["library"],
            **where,
        )
        try:
            reset = lambda seed, options: env.reset(seed=seed, options=options)  # noqa: E731
            return list(canon.play(job, reset, env.step, env.render))
        finally:
            env.close()


def main(jobs: str, output: str, canon_path: str, target: str) -> None:
    """Play all jobs, write a list of lists of lines."""
    spec = importlib.util.spec_from_file_location("canon", canon_path)
    assert spec
    assert spec.loader
    canon = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(canon)
    plays = [played(canon, job, Path(target)) for job in canon.read_jobs(jobs)]
    Path(output).write_text(json.dumps(plays), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
