"""Plays an env through gym_service: the other half of ``gym_service/testing/in_target/reference_run.py``.

As a program, for a client that is not the interpreter of the tests::

    PYTHON remote.py JOBS OUTPUT TARGET

Knows jobs and gym_service.make. Python 3.10 and up.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import gym_service
from gym_service.testing import checks

# Not imported from paths.py, since this file is also run by path.
ENVS = Path(__file__).absolute().parent.parent / "fixture_envs"


def played(plan: dict[str, Any], python: Path | None, **where: Any) -> list[tuple[Any, ...]]:
    """The moments of one job, played through gym-service in the target, or by the server at an ``address``.

    ``where`` has further keys of an entry.
    """
    if python:
        where = {"python": str(python), "pythonpath": [str(ENVS)], **where}
    kwargs = dict(plan["kwargs"])
    if plan["render_mode"]:
        kwargs["render_mode"] = plan["render_mode"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the target's own checker about an env are not compared
        env = gym_service.make(
            plan["id"],
            imports=plan["imports"],
            kwargs=kwargs,
            api=plan["library"],
            **where,
        )
        try:
            return [record[:4] for record in checks.remote_play(env, plan)]
        finally:
            env.close()


def main(plans: str, output: str, target: str) -> None:
    """Play all jobs and write a list of lists of moments."""
    plays = [played(plan, Path(target)) for plan in json.loads(Path(plans).read_text(encoding="utf-8"))]
    Path(output).write_text(json.dumps(plays), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
