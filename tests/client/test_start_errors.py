"""Servers that fail to start: the message says what happened, where, the evidence, and what to try."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.opened import TARGET, misbehaving
from support.paths import ENVS
from support.targets import TARGETS, find_interpreter

import gym_service
from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

TARGET_VERSION = TARGETS[TARGET].version


@contextmanager
def refused(error: type[Exception] = errors.ServerStartError) -> Iterator[Any]:
    """Assert that the block raises the error, and that the error says what to try."""
    with pytest.raises(error) as caught:
        yield caught
    assert "try: " in str(caught.value).splitlines()[-1].lower()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty venv, with the Python of the usual target."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([TARGETS[TARGET].python(), "-m", "venv", "--without-pip", folder], check=True)
    return folder


def folder_with(packages: tuple[str, ...], folder: Path) -> Path:
    """A folder from which only these packages of the usual target can be imported."""
    site = Path(subprocess.check_output([TARGETS[TARGET].python(), "-c", SAY_SITE], text=True).strip())
    for package in packages:
        for found in site.glob(f"{package}*"):
            (folder / found.name).symlink_to(found)
    return folder


SAY_SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


@pytest.mark.parametrize("transport", ["unix", "stdio"])
@pytest.mark.parametrize(
    ("deed", "exit_code", "ending"),
    [
        ("os._exit", 7, "exit code 7"),
        ("sys.exit", 3, "exit code 3"),
        ("SIGSEGV", -11, "killed by SIGSEGV (signal 11)"),
    ],
)
def test_a_simulator_that_dies_at_import(deed: str, exit_code: int, ending: str, transport: str) -> None:
    with refused() as caught, misbehaving(environ={"MISBEHAVE": deed}, transport=transport):
        pass
    error = caught.value
    python = str(TARGETS[TARGET].python())
    assert (error.exit_code, error.interpreter) == (exit_code, python)
    assert error.argv[0] == python
    assert "last words" in error.tail
    lines = str(error).splitlines()
    assert lines[0] == f"the server of 'Misbehaving-v0' did not start: {ending}"
    assert lines[1] == f"  interpreter: {python}"
    assert "    last words" in lines
    assert lines[-1] == f"  try: PYTHONPATH={ENVS} {python} -c 'import misbehaving'"


def test_an_exception_at_import_is_the_simulators_own() -> None:
    with pytest.raises(errors.EnvValueError) as caught, misbehaving(environ={"MISBEHAVE": "ValueError"}):
        pass
    assert str(caught.value).startswith("no such thing\n  raised in the simulator as ValueError\n")
    assert "gym_service" not in caught.value.remote_traceback
    assert "importlib" not in caught.value.remote_traceback


def test_a_module_that_is_not_there() -> None:
    with refused() as caught, misbehaving(imports=["no_such_module"], pythonpath=["/no/such/folder"]):
        pass
    text = str(caught.value)
    assert "did not start: ModuleNotFoundError: No module named 'no_such_module'\n  interpreter: " in text
    assert text.splitlines()[-2] == "  cause: the folder /no/such/folder of pythonpath does not exist"
    assert "  try: the right folder of no_such_module in pythonpath" in text


def test_a_module_that_needs_what_is_not_there_says_where() -> None:
    with refused() as caught, misbehaving(environ={"MISBEHAVE": "ImportError"}):
        pass
    text = str(caught.value)
    assert text.startswith("the server of 'Misbehaving-v0' did not start: ImportError: late import\n    Traceback")
    assert "misbehaving.py" in text


def test_an_id_that_nobody_registered_there() -> None:
    with refused(errors.EnvNameNotFound) as caught, misbehaving(imports=[]):
        pass
    assert str(caught.value).startswith("Environment `Misbehaving` doesn't exist.")
    python = TARGETS[TARGET].python()
    cause, advice = str(caught.value).splitlines()[-2:]
    assert (
        cause == f"  cause: nothing in {python} registers 'Misbehaving-v0'; no package there registers ids of its own"
    )
    assert advice == f"  try: another id (gym-service ids {python}), or imports with the module that registers it"
    assert type(type(caught.value)(str(caught.value))) is errors.EnvNameNotFound


def test_an_id_of_a_package_that_is_not_there() -> None:
    with (
        refused(errors.EnvNamespaceNotFound) as caught,
        gym_service.make("gym_pusht/PushT-v0", python=str(TARGETS[TARGET].python())),
    ):
        pass
    cause, advice = str(caught.value).splitlines()[-2:]
    assert cause.endswith(" registers 'gym_pusht/PushT-v0', or another id of the namespace 'gym_pusht'")
    assert advice.startswith("  try: the package that registers gym_pusht/…, installed there")


@pytest.mark.parametrize("transport", ["unix", "stdio"])
def test_an_interpreter_without_numpy(bare: Path, transport: str) -> None:
    with refused() as caught, misbehaving(python=str(bare), transport=transport):
        pass
    python = bare / "bin" / "python"
    assert f"did not start: {python} (Python {TARGET_VERSION}" in str(caught.value)
    assert ") has no numpy\n" in str(caught.value)
    assert str(caught.value).endswith(f"  try: uv pip install --python {python} numpy")
    assert "No module named 'numpy'" in caught.value.tail


def test_an_interpreter_without_gym(bare: Path, tmp_path: Path) -> None:
    packages = folder_with(("numpy",), tmp_path)
    with refused() as caught, misbehaving(python=str(bare), pythonpath=[str(packages)], imports=[]):
        pass
    python = bare / "bin" / "python"
    assert "ModuleNotFoundError: neither gymnasium nor gym is installed in this interpreter" in str(caught.value)
    assert str(caught.value).endswith(f"  try: uv pip install --python {python} gymnasium")


def test_an_interpreter_that_is_too_old() -> None:
    python = find_interpreter("2.7")
    if python is None:
        pytest.skip("needs Python 2.7, which is not on this machine and which CI does not have")
    with refused() as caught, misbehaving(python=str(python)):
        pass
    assert f"did not start: {python} (Python 2.7" in str(caught.value)
    assert "is too old: the oldest that works is Python 3.6\n" in str(caught.value)
    assert "the server needs 3.6 or newer" in caught.value.tail
    assert caught.value.exit_code == 3


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with refused(errors.ConfigError) as caught, misbehaving(python=str(tmp_path / "nowhere")):
        pass
    assert f": {tmp_path / 'nowhere'} does not exist" in str(caught.value)


def test_a_file_that_cannot_be_executed(tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.write_text("no program")
    with refused(errors.ConfigError) as caught, misbehaving(python=str(file)):
        pass
    assert f": {file} is not an executable file" in str(caught.value)


def test_a_program_that_is_no_python(tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.write_text("#!/bin/sh\necho hello from a shell\nexit 4\n")
    file.chmod(0o755)
    with refused() as caught, misbehaving(python=str(file)):
        pass
    assert f"did not start: {file} does not run: exit code 4" in str(caught.value)
    assert caught.value.tail == "hello from a shell\n"
    assert caught.value.exit_code == 4


def test_a_file_of_another_machine(tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.write_bytes(b"\x7fELF of another processor")
    file.chmod(0o755)
    with refused() as caught, misbehaving(python=str(file)):
        pass
    assert "Exec format error" in str(caught.value)
    assert caught.value.interpreter == str(file)


def test_a_working_directory_that_is_not_there(tmp_path: Path) -> None:
    with refused(errors.ConfigError) as caught, misbehaving(cwd=str(tmp_path / "none")):
        pass
    assert str(tmp_path / "none") in str(caught.value)


def test_a_keyword_that_the_simulator_does_not_know_is_its_own_error() -> None:
    with pytest.raises(errors.EnvTypeError, match="unexpected keyword argument 'colour'"):
        gym_service.make(
            "Misbehaving-v0",
            python=str(TARGETS[TARGET].python()),
            imports=["misbehaving"],
            pythonpath=[str(ENVS)],
            colour=os.name,
        )


@pytest.mark.parametrize("why", ["cannot pickle", "KeyboardInterrupt"])
def test_where_this_side_fails_the_server_that_was_started_meanwhile_is_seen_to(why: str, tmp_path: Path) -> None:
    code = f"""
import os, sys, threading
import gym_service
from gym_service_launcher.processes import child

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "gym_service.factory.server_startup" and {why!r} == "KeyboardInterrupt":
            raise KeyboardInterrupt("in the middle of an import")

sys.meta_path.insert(0, Interrupting())
lock = threading.Lock()
ends = []
end = child.Child.stop_in_steps
child.Child.stop_in_steps = lambda self, *given: (ends.append(1), end(self, *given))[1]
try:
    gym_service.make("CartPole-v1", python=sys.executable, wrappers=[lambda env, lock=lock: env])
except (TypeError, KeyboardInterrupt) as error:
    print(type(error).__name__, error, len(ends))
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=True)
    assert why in done.stdout
    assert done.stdout.split()[-1] == "1"  # stopped at once, not only after it saw the end of its stream
    assert done.stderr == ""


@pytest.mark.parametrize("prefork", [False, True])
@pytest.mark.parametrize("transport", ["unix", "stdio"])
@pytest.mark.filterwarnings("ignore:.*without prefork")
def test_a_question_at_import_is_shown_with_how_to_answer_it(transport: str, prefork: bool, tmp_path: Path) -> None:
    question = "Do you accept the licence of Sim 1.0? [y/N] "
    (tmp_path / "asking.py").write_text(f"import sys\nanswer = input({question!r})\n")
    keys = {"imports": ["asking"], "pythonpath": [str(tmp_path)], "transport": transport, "prefork": prefork}
    with refused(errors.EnvError) as caught:
        gym_service.make("CartPole-v1", python=str(TARGETS[TARGET].python()), **keys)
    text = str(caught.value)
    assert isinstance(caught.value, EOFError)
    assert text.startswith("EOF when reading a line: the simulator of 'CartPole-v1' asks a question")
    assert f"\n    {question.rstrip()}" in text
    python = TARGETS[TARGET].python()
    assert f"\n  interpreter: {python}, process " in text
    assert text.splitlines()[-1] == (
        f"  try: answer it once by hand: PYTHONPATH={tmp_path} {python} -c 'import asking'"
    )


def test_the_command_to_answer_by_hand_works(tmp_path: Path) -> None:
    """The command in the error asks the question, and accepts the answer."""
    (tmp_path / "asking.py").write_text(
        "import os\nfile = __file__ + '.accepted'\n"
        "if not os.path.exists(file) and input('accept? ') == 'y':\n    open(file, 'w').close()\n"
    )
    keys: dict[str, Any] = {"imports": ["asking"], "pythonpath": [str(tmp_path)]}
    keys["python"] = str(TARGETS[TARGET].python())
    with refused(errors.EnvError) as caught:
        gym_service.make("CartPole-v1", **keys)
    command = str(caught.value).rpartition("try: answer it once by hand: ")[2]
    subprocess.run(command, shell=True, input="y\n", text=True, check=True, stdout=subprocess.DEVNULL)
    gym_service.make("CartPole-v1", **keys).close()
