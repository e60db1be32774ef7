"""What is wrong with a target, in one line: runs the probe in it and judges the answer.

Knows what a target must have: Python 3.6, numpy, gym or gymnasium. Never knows where interpreters lie
or how a server is started. Python 3.10 and up; the probe itself from 2.7.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOOR = (3, 6)
PROBE = Path(__file__).parent.parent / "standalone" / "probe.py"


@dataclass(frozen=True)
class Diagnosis:
    """What the probe found in a target. None stands for: not there, or not known.

    ``problem`` is the one line that says what is wrong, None if nothing is; ``advice`` is the one
    thing to try then, else empty.
    """

    executable: Path
    version: str | None = None
    prefix: str | None = None
    numpy: str | None = None
    gymnasium: str | None = None
    gym: str | None = None
    problem: str | None = None
    advice: str = ""


def diagnose(executable: str | Path, env: Mapping[str, str], timeout_s: float = 30.0) -> Diagnosis:
    """Run the probe in a target, for at most ``timeout_s`` seconds, and say what it found.

    Never raises for what is wrong with the target: that is in the report. The process and what it
    started are gone afterwards.
    """
    path = Path(executable)
    try:
        stdout, stderr, exit_code = _run([str(path), str(PROBE)], env, timeout_s)
    except subprocess.TimeoutExpired:
        return _broken(path, f"it gave no answer within {timeout_s:g} s")
    except OSError as error:
        return _broken(path, error.strerror or str(error))
    found = _answer(stdout)
    if found is None:
        return _broken(path, f"{_exit(exit_code)}, {_last_error_line(stderr)}")
    problem, advice = _problem_and_advice(path, found)
    facts = {key: found.get(key) for key in ("version", "prefix", "numpy", "gymnasium", "gym")}
    return Diagnosis(path, **facts, problem=problem, advice=advice)


def _run(command: list[str], env: Mapping[str, str], timeout_s: float) -> tuple[str, str, int]:
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException:
            # The group, since the probe imports numpy in a process of its own. Not reaped yet, its id
            # is still its own.
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return os.fsdecode(stdout), os.fsdecode(stderr), process.returncode


def _answer(stdout: str) -> dict[str, Any] | None:
    """The probe's line: the last one, since a site-packages may print as it starts."""
    for line in reversed(stdout.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "version" in found:
            return found
    return None


def _exit(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else f"killed ({signal.strsignal(-exit_code)})"


def _last_error_line(stderr: str) -> str:
    """A Python ends with its exception, a shell or the loader of programs begins with the reason."""
    lines = stderr.strip().splitlines()
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return next(iter([*errors[-1:], *lines[:1]]), "without a word: it may be no Python")


def _broken(path: Path, why: str) -> Diagnosis:
    return Diagnosis(path, problem=f"{path} does not run: {why}", advice="another interpreter, or this one built anew")


def _problem_and_advice(path: Path, found: dict[str, Any]) -> tuple[str | None, str]:
    """The problem and the advice."""
    version, numpy, failure = found["version"], found.get("numpy"), found.get("numpy_error")
    who = f"{path} (Python {version})"
    # A venv made by uv has no pip.
    install = f"{path} -m pip install" if found.get("pip") else f"uv pip install --python {path}"
    if tuple(int(number) for number in version.split(".")[:2]) < FLOOR:
        return f"{who} is too old: the floor is Python 3.6", "a newer Python for this simulator"
    if numpy is None:
        return f"{who} has no numpy", f"{install} numpy"
    if failure:
        problem = f"{who} has a numpy {numpy} that does not import: {failure}"
        return problem, f"{install} --force-reinstall numpy"
    if not (found.get("gymnasium") or found.get("gym")):
        return f"{who} has neither gymnasium nor gym", f"{install} gymnasium"
    return None, ""
