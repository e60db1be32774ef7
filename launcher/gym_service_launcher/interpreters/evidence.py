"""What is known about a failed env, one row of the table of causes, and how a package is installed for an entry.

Knows entries and surveys. Never knows which causes there are (``causes.py``). Python 3.10 and up.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.interpreters.diagnosis import Diagnosis
from gym_service_launcher.interpreters.survey import Survey, survey_of


@dataclass(frozen=True)
class Explanation:
    """A cause in words, what to try, and the name of the row that it comes from."""

    name: str
    cause: str
    advice: str

    def added_to(self, text: str) -> str:
        """An error's text with the cause and the advice, in place of the advice that it has."""
        what, separator, _ = text.rpartition("\n  try: ")
        return f"{what if separator else text}\n  cause: {self.cause}\n  try: {self.advice}"


@dataclass
class Evidence:
    """What is known about a failure. The target is surveyed only when a row asks for it."""

    entry: Entry
    type_name: str
    message: str
    traceback: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    num_envs: int = 1
    executable: Path | None = None

    @cached_property
    def survey(self) -> Survey | None:
        """The target with the entry's imports; None if it is not on this machine."""
        return survey_of(self.entry)

    @cached_property
    def wide_survey(self) -> Survey | None:
        """The same, and the ids that other modules of the target would register."""
        return survey_of(self.entry, search=True)

    @property
    def place(self) -> str:
        """The interpreter, for people."""
        if self.entry.interpreter:
            return f"[interpreters.{self.entry.interpreter}]"
        if self.entry.address:
            return f"the interpreter of {self.entry.address}"
        if self.entry.builds_venv:
            return f'the venv of "{self.entry.name}"'
        return str(self.executable or (self.survey and self.survey.executable) or self.entry.python or "there")

    def install(self, package: str) -> str:
        """How the user installs a package into the target."""
        executable = self.executable or (self.survey.executable if self.survey else None)
        return how_to_install(self.entry, package, executable)


Judge = Callable[[Evidence, "re.Match[str]"], "tuple[str, str] | None"]


@dataclass(frozen=True)
class Cause:
    """One row. ``pattern`` is matched against what was raised (``raised``), ``traceback`` against the whole traceback.

    ``cause`` and ``advice`` may hold {1} (a group of the pattern), {place}, {install} and {version}.

    ``install`` is the requirement that {install} is about. ``only_if`` is a package and the oldest major version of it
    for which the row holds. ``judge`` returns cause and advice in place of these fields.
    """

    name: str
    pattern: str
    cause: str = ""
    advice: str = ""
    install: str = ""
    only_if: tuple[str, int] | None = None
    traceback: str = ""
    judge: Judge | None = field(default=None, compare=False)

    def explain(self, evidence: Evidence) -> Explanation | None:
        """The explanation, if the row applies."""
        match = re.search(self.pattern, raised(evidence), re.MULTILINE)
        if match is None or not re.search(self.traceback, evidence.traceback):
            return None
        if self.judge:
            found = self.judge(evidence, match)
            return Explanation(self.name, *found) if found else None
        fields: dict[str, Any] = {"place": evidence.place}
        if self.only_if:
            package, major = self.only_if
            if evidence.survey is None or not evidence.survey.is_at_least(package, major):
                return None
            fields["version"] = evidence.survey.version(package)
        if self.install:
            fields["install"] = evidence.install(self.install)
        words = ["", *(group or "" for group in match.groups())]
        fields["num_envs"] = evidence.num_envs
        return Explanation(self.name, self.cause.format(*words, **fields), self.advice.format(*words, **fields))


def raised(evidence: Evidence) -> str:
    """The errors: ``TYPE: MESSAGE`` first, then those that led to it.

    Source lines and output are left out: a simulator may warn of a missing display and fail for another reason.
    """
    lines = [line for line in evidence.traceback.splitlines() if line and not line[0].isspace()]
    return "\n".join((f"{evidence.type_name}: {evidence.message}", *lines))


def how_to_install(entry: Entry, package: str, executable: Path | None, *, has_pip: bool | None = None) -> str:
    """How the user of an entry installs a package for it.

    A venv of gym-service is described by envs.toml: what is installed there by hand would be lost.
    """
    if entry.address:
        return f"install {package} where that server runs"
    if entry.builds_venv:
        where = f"[interpreters.{entry.interpreter}]" if entry.interpreter else f'[envs."{entry.name}"]'
        if not entry.file:
            return f'add "{package}" to requires'
        return f'add "{package}" to requires of {where}, then: gym-service sync'
    shown = f"'{package}'" if re.search(r"[<>\[;! ]", package) else package
    if entry.is_remote:
        return f"{entry.python or 'python3'} -m pip install {shown}, on the remote side"
    if has_pip is None:
        has_pip = bool(executable and _has_pip(executable))
    return f"{executable} -m pip install {shown}" if has_pip else f"uv pip install --python {executable} {shown}"


def _has_pip(executable: Path) -> bool:
    # Beside the interpreter as in every venv and pyenv version. A venv made by uv has none.
    return any((executable.parent / name).exists() for name in ("pip", "pip3"))


def repair_of(entry: Entry, diagnosis: Diagnosis) -> str:
    """What to try for the problem of an interpreter. What is missing in a venv of ours belongs into envs.toml."""
    if diagnosis.missing and entry.builds_venv:
        return how_to_install(entry, diagnosis.missing, diagnosis.executable)
    return diagnosis.advice
