"""For the authors of a simulator: does it give through gym-service what it gives by itself?

    from gym_service.testing import check_service_env

    def test_through_gym_service():
        check_service_env("MyEnv-v0", python="./sim_env", imports=["my_simulator"])

On a command line: ``python -m gym_service.testing MyEnv-v0 --python ./sim_env --import my_simulator``.

Knows the checks and their order. Client only; the files that a target runs (``reference_run.py``, ``trajectory.py``) do
so by path. Python 3.10 and up.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from gym_service.testing.checks import CHECKS
from gym_service.testing.env_under_test import EnvUnderTest, Failed, Skipped, env_under_test

__all__ = [
    "CHECKS",
    "CheckFailed",
    "EnvUnderTest",
    "Failed",
    "Finding",
    "Skipped",
    "check_service_env",
    "env_under_test",
]


class Finding(NamedTuple):
    """What a check has found: its name, ``passed``, ``failed`` or ``skipped``, and what it saw or why."""

    check: str
    outcome: str
    text: str

    def __str__(self) -> str:
        """One line, and the evidence below it."""
        return f"{self.outcome:7} {self.check}: {self.text}"


class CheckFailed(AssertionError):
    """At least one check has failed. Attributes: ``findings``, of all checks in their order."""

    findings: tuple[Finding, ...] = ()


# Above 40 lines: half of them are signature and docstring, which users read in one place.
def check_service_env(
    env_id: str,
    *,
    seeds: Sequence[int] = (1, 2),
    steps: int = 100,
    options: Mapping[str, Any] | None = None,
    actions: Sequence[Any] | None = None,
    deterministic: bool = True,
    checks: Collection[str] = tuple(CHECKS),
    progress: Callable[[str], None] = lambda line: None,
    **given: Any,
) -> tuple[Finding, ...]:
    """Check that an env is the same through gym-service as in a bare process of its own interpreter.

    Plays the same seeds and actions on both sides and compares them bit for bit and type for type; also the spaces,
    ``reset(options=…)``, frames, ``close``, and what becomes of a server that is killed or stopped. Starts about ten
    processes, one after another, each of which imports the simulator; leaves none.

    Args:
        env_id: as in ``gym_service.make``.
        seeds: a play for each, on the same env.
        steps: how many in each play; an episode that is over begins again.
        options: for every reset that is seeded.
        actions: those of each play; None for samples of the simulator's own action space.
        deterministic: False where two plays of the same seeds may differ in their numbers: then types, dtypes, shapes
            and keys are compared alone. So it is too where the env is registered as nondeterministic.
        checks: names out of CHECKS; ``simulator`` is always made.
        progress: is told each finding as it comes.
        given: the keys of ``gym_service.make``: ``python``, ``imports``, ``kwargs``, ``pythonpath``, …; any other
            keyword goes to the simulator. With ``render_mode`` the frames are part of the plays.

    Returns:
        What each check has found; none of it is ``failed``.

    Raises:
        CheckFailed: the text names every check that failed, with the first difference.
        ConfigError: the keys are wrong, there is no such check, or the simulator lives on another machine.
    """
    chosen = {"seeds": seeds, "steps": steps, "options": options, "actions": actions, "deterministic": deterministic}
    unknown = sorted(set(checks) - set(CHECKS))
    if unknown or not seeds or steps < 1:
        wrong = f"no such check: {', '.join(unknown)}; there are {', '.join(CHECKS)}" if unknown else "nothing to play"
        raise ValueError(wrong)
    subject = env_under_test(env_id, given, progress, **chosen)
    findings = []
    for name in CHECKS:
        if name == "simulator" or name in checks:
            findings.append(_finding(name, subject))
            progress(str(findings[-1]))
    failed = [finding for finding in findings if finding.outcome == "failed"]
    if failed:
        error = CheckFailed(f"{env_id}: " + "\n".join(f"{finding.check}: {finding.text}" for finding in failed))
        error.findings = tuple(findings)
        raise error
    return tuple(findings)


def _finding(name: str, subject: EnvUnderTest) -> Finding:
    try:
        return Finding(name, "passed", CHECKS[name](subject))
    except Skipped as skipped:
        return Finding(name, "skipped", str(skipped))
    except Failed as failure:
        return Finding(name, "failed", str(failure))
