"""Finds out what is wrong with a target: runs the probe in it and judges its output.

Knows what a target needs: Python 3.6, numpy, and gym or gymnasium. Never knows where interpreters are or how a server
is started. Python 3.10 and up; the probe itself runs from 2.7 on.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gym_service_launcher.standalone import interrupts

OLDEST_PYTHON = (3, 6)
PROBE = Path(__file__).parent.parent / "standalone" / "probe.py"

# The line in which the shell of the scripts, or what follows them in the target, says why it ends.
SAID = re.compile(r"^gym-service: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Diagnosis:
    """What the probe found in a target. A field is None if the package is missing or the fact is unknown.

    ``problem`` says in one line what is wrong; it is None if nothing is. ``advice`` is what to try then, else empty.
    ``missing`` is the package that must be installed, if that is the fault.
    """

    executable: Path
    version: str | None = None
    prefix: str | None = None
    numpy: str | None = None
    gymnasium: str | None = None
    gym: str | None = None
    problem: str | None = None
    advice: str = ""
    missing: str = ""


def diagnose(
    executable: str | Path,
    env: Mapping[str, str],
    timeout_s: float = 30.0,
    *,
    is_quick: bool = False,
    words: Sequence[str] = (),
) -> Diagnosis:
    """Run the probe in a target and return what it found. Blocks for at most ``timeout_s`` seconds.

    ``is_quick``: do not import numpy, which takes most of the time. Whether it can be imported stays unknown.
    ``env`` and ``words`` are those of a ``TargetEnvironment``.

    A fault of the target does not raise: it is the ``problem`` of the result. The process and its children have ended
    when this returns.
    """
    path = Path(executable)
    try:
        command = [*words, str(path), str(PROBE), *(["quick"] if is_quick else [])]
        stdout, stderr, exit_code = _run(command, env, timeout_s)
    except subprocess.TimeoutExpired:
        late = f"it did not answer within {timeout_s:g} s"
        return _not_activated(path, late, "") if words else _broken(path, late)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        return _broken(path, error.strerror or str(error))
    found = _answer(stdout)
    if found is None:
        if words:
            return _not_activated(path, _exit(exit_code), stderr)
        return _broken(path, f"{_exit(exit_code)}, {_last_error_line(stderr)}")
    problem, advice, missing = _judged(path, found)
    facts = {key: found.get(key) for key in ("version", "prefix", "numpy", "gymnasium", "gym")}
    return Diagnosis(path, **facts, problem=problem, advice=advice, missing=missing)


def activation_advice(reason: str) -> str:
    """What to try where the shell of the scripts, or what follows them, ends with this reason. Empty if unknown."""
    if "environ." in reason:
        return "correct this value of environ, or have a script of activate set the variable"
    if "activation" in reason:
        return "look at the scripts of activate, and at those of the conda env if there is one"
    return ""


def _run(command: list[str], env: Mapping[str, str], timeout_s: float) -> tuple[str, str, int]:
    with (
        # No pipe: what an activation script leaves running would hold it open.
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=dict(env),
            start_new_session=True,
        ) as process,
    ):
        try:
            stdout, _ = process.communicate(timeout=timeout_s)
            # Whatever of its group still runs keeps the id from being another group's.
            with interrupts.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        except BaseException:
            # The whole group, because the probe imports numpy in a child. The probe is not reaped yet, so the id
            # cannot belong to another group.
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            raise
        errors.seek(0)
        return os.fsdecode(stdout), os.fsdecode(errors.read()), process.returncode


def _answer(stdout: str) -> dict[str, Any] | None:
    """The line that the probe printed: the last one that is JSON, because site-packages may print before it."""
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
    """The line that names the fault: the last one of a Python traceback, else the first (a shell, the loader)."""
    lines = stderr.strip().splitlines()
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return next(iter([*errors[-1:], *lines[:1]]), "no output (it may not be a Python)")


def _broken(path: Path, why: str) -> Diagnosis:
    return Diagnosis(path, problem=f"{path} does not run: {why}", advice="use another interpreter, or rebuild this one")


def _not_activated(path: Path, ending: str, stderr: str) -> Diagnosis:
    """The diagnosis where no answer came through a shell that sources scripts: the interpreter may be sound."""
    said = SAID.findall(stderr)
    if said:
        return Diagnosis(path, problem=said[-1], advice=activation_advice(said[-1]))
    # The last line: the scripts have printed before it.
    last = "".join(f", {line}" for line in stderr.strip().splitlines()[-1:])
    problem = f"there was no answer from {path} after its activation: {ending}{last}"
    return Diagnosis(path, problem=problem, advice=f"{activation_advice(problem)}; or at the interpreter")


def _judged(path: Path, found: dict[str, Any]) -> tuple[str | None, str, str]:
    """The problem, what to try, and the package that is missing."""
    version, numpy, failure = found["version"], found.get("numpy"), found.get("numpy_error")
    who = f"{path} (Python {version})"
    # A venv made by uv has no pip.
    install = f"{path} -m pip install" if found.get("pip") else f"uv pip install --python {path}"
    if tuple(int(number) for number in version.split(".")[:2]) < OLDEST_PYTHON:
        return f"{who} is too old: the oldest that works is Python 3.6", "use a newer Python for this simulator", ""
    if numpy is None:
        return f"{who} has no numpy", f"{install} numpy", "numpy"
    if failure:
        problem = f"{who} has numpy {numpy}, which fails to import: {failure}"
        return problem, f"{install} --force-reinstall numpy", ""
    if not any(found.get(library) for library in ("gymnasium", "gym", "dm_env", "pettingzoo", "robosuite")):
        return f"{who} has neither gymnasium nor gym", f"{install} gymnasium", "gymnasium"
    return None, "", ""
