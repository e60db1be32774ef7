"""The release check: what it accepts and what it refuses. Its long form builds and installs the wheel."""

import subprocess
import sys
from pathlib import Path

import pytest
from tools import release_check
from tools.release_check import Failed

WHEEL = [
    "gym_service/__init__.py",
    "gym_service/py.typed",
    "gym_service_launcher/__init__.py",
    "gym_service_launcher/py.typed",
    "gym_service_plugin.py",
    "gym_service-0.1.0.dist-info/METADATA",
]
WRONG = [number for number, line in enumerate(release_check.PROGRAM.split("\n"), 1) if line.endswith("# wrong")]
REVEALED = {
    "mypy": "Revealed type is \"def (env_id: str, *, render_mode: str | None =, **options: **TypedDict("
    "gym_service.factory.options.EntryOptions, {'python'?: str | None})) -> gym_service.client.env.RemoteEnv\"",
    "pyright": 'Type of "gym_service.make" is "(env_id: str, *, render_mode: str | None = NOT_GIVEN, '
    '**options: **EntryOptions) -> RemoteEnv"',
}  # fmt: skip
LINES = {
    "mypy": ("tmp/program.py:{line}: note: {text}\n", "tmp/program.py:{line}: error: wrong  [call-arg]\n"),
    "pyright": (
        "  /tmp/program.py:{line}:13 - information: {text}\n",
        "  /tmp/program.py:{line}:30 - error: wrong (reportCallIssue)\n",
    ),
}
CHECKERS = list(LINES)


def output(checker: str, revealed: str, flagged: list[int]) -> str:
    """The output of a checker."""
    note, error = LINES[checker]
    flags = "".join(error.format(line=line) + note.format(line=line, text='"make" defined in …') for line in flagged)
    return flags + note.format(line=99, text=revealed)


def test_a_wheel_with_both_markers_and_nothing_else_passes() -> None:
    release_check.check_wheel(WHEEL)


@pytest.mark.parametrize("lost", release_check.TYPED)
def test_a_wheel_without_a_marker_fails(lost: str) -> None:
    with pytest.raises(Failed, match=f"lacks {lost}$"):
        release_check.check_wheel([name for name in WHEEL if name != lost])


@pytest.mark.parametrize("more", ["launcher/gym_service_launcher/__init__.py", "tests/conftest.py", "project.py"])
def test_a_wheel_with_a_folder_of_the_clone_fails(more: str) -> None:
    with pytest.raises(Failed, match=f"holds {more.partition('/')[0]}$"):
        release_check.check_wheel([*WHEEL, more])


def test_a_plugin_without_its_marker_fails() -> None:
    release_check.check_typed(["plugin/__init__.py", "plugin/py.typed"])
    with pytest.raises(Failed):
        release_check.check_typed(["plugin/__init__.py"])


@pytest.mark.parametrize("checker", CHECKERS)
def test_the_real_signature_and_each_mistake_pass(checker: str) -> None:
    assert len(WRONG) >= 6
    release_check.judge_types(checker, output(checker, REVEALED[checker], WRONG))


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("flagged", [WRONG[1:], [*WRONG, 1], []])
def test_a_mistake_that_passes_or_a_right_line_that_does_not_fails(checker: str, flagged: list[int]) -> None:
    with pytest.raises(Failed, match=f"{checker} flagged the lines"):
        release_check.judge_types(checker, output(checker, REVEALED[checker], flagged))


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("revealed", ["Any", "def (env_id: str, **options: Any) -> Any", ""])
def test_a_signature_without_its_types_fails(checker: str, revealed: str) -> None:
    with pytest.raises(Failed, match=f"{checker} reveals"):
        release_check.judge_types(checker, output(checker, revealed, WRONG))


@pytest.mark.long
def test_the_wheel_of_this_clone_passes() -> None:
    """Needs PyPI, uv, node and the npm registry; takes one to four minutes."""
    project = Path(release_check.ROOT, "project.py")
    ran = subprocess.run([sys.executable, project, "release-check"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "all is well: gym_service-" in ran.stdout
