#!/usr/bin/env python3
"""The one tool of a fresh clone: it prepares the environment, then runs the demo, the tests or the checks.

    python3 project.py demo                   a simulator in its own interpreter, driven through gym.make
    python3 project.py test [pytest words]    every check there is, the same that CI runs
    python3 project.py lint | venv | bench    the checks without the tests; only prepare; what a step costs
    python3 project.py docs [serve]           build the site of the documentation and check its words; show it
    python3 project.py release-check          build the wheel, install it into a clean venv, use and type-check it there

Knows uv, the venvs of the clone and the commands of the checks. Never knows gym-service itself. Standard library only.
Python 3.10 and up; older versions can parse this file far enough to say so.
"""

import sys

if sys.version_info < (3, 10):
    sys.exit(
        "The client of gym-service needs Python 3.10 or newer; this is %d.%d. (A simulator can use an older one.)\n"
        "  try: python3.12 project.py %s" % (sys.version_info[0], sys.version_info[1], " ".join(sys.argv[1:]))
    )

import argparse
import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, NamedTuple

ROOT = Path(__file__).absolute().parent
TOOLS = ROOT / ".tools"
# With these folders on sys.path both packages can be imported without being installed.
IMPORTABLE = os.pathsep.join([str(ROOT), str(ROOT / "launcher")])

# The first uv whose `pip install` knows --group.
OLDEST_UV = (0, 7)

# Every file in these folders runs on Python 3.6, because a target or the guardian loads it.
PYTHON_36_FOLDERS = (
    "gym_service/protocol",
    "gym_service/transport",
    "gym_service/server",
    "gym_service/testing/in_target",
    "launcher/gym_service_launcher/standalone",
)

# The packages that gym-service imports. With these it runs from the clone without an installation.
RUNTIME = ("gymnasium", "numpy", "rich", "cloudpickle")

# The folders of one half of the tests; the other half is all else.
FIRST_HALF = (
    "client",
    "compliance",
    "docs",
    "launcher/commands",
    "other_apis",
    "parity",
    "protocol",
    "tools",
    "traces",
)

# The folders that the oldest client tests: of the rest, nothing depends on the versions of what it is installed with.
OLDEST_CLIENTS = (
    "client",
    "compliance",
    "launcher/config",
    "libraries",
    "other_apis",
    "parity",
    "protocol",
    "traces",
)

PARSE = "import sys; [compile(open(path, 'rb').read(), path, 'exec') for path in sys.argv[1:]]"


class Failed(Exception):
    """A command failed. The text says why."""


class Client(NamedTuple):
    """A venv with gym-service and a dependency group: its folder, its Pythons, best first, and its constraints."""

    folder: Path
    pythons: tuple[str, ...]
    constraints: Path
    group: str = "dev"


CLIENTS = {
    "newest": Client(ROOT / ".venv", ("3.13", "3.12", "3.11", "3.10"), ROOT / "constraints.txt"),
    "oldest": Client(ROOT / ".venv-3.10", ("3.10",), ROOT / "constraints-oldest.txt"),
}
DOCS = CLIENTS["newest"]._replace(folder=ROOT / ".venv-docs", group="docs")


def demo(words: Sequence[str]) -> int:
    return call(python_with(RUNTIME), ROOT / "examples/quickstart.py", *words)


def test(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="project.py test", allow_abbrev=False, add_help=False)
    parser.add_argument("--clients", default="newest", type=lambda names: names.split(","))
    options, pytest_words = parser.parse_known_args(words)
    pythons = [python for python in map(python_of, options.clients) if python]
    if pytest_words:
        return verdict(checks(pythons[-1]) + run_pytest(pythons, pytest_words))
    # The build downloads for the most part, so the checks run at the same time.
    with started(pythons[-1], ROOT / "tests/support/targets.py", "build", "--all") as build:
        failed = checks(pythons[-1])
        failed += ["docs"] if docs([]) else []
        failed += ["targets"] if build.finish("the interpreters that the tests drive") else []
    return verdict(failed + run_pytest(pythons, pytest_words))


class Started(NamedTuple):
    """A command that runs at the same time as others, and the file of its output."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def finish(self, title: str) -> int:
        """Wait for its end and show its output under this title. Returns its exit code."""
        exit_code = self.process.wait()
        say(title)
        self.output.seek(0)
        shutil.copyfileobj(self.output, sys.stdout.buffer)
        sys.stdout.flush()
        return exit_code


@contextlib.contextmanager
def started(*command: str | Path) -> Iterator[Started]:
    """A command that runs in the clone. Leaving waits for its end."""
    # Without the parentheses of a newer Python: 3.6 reads this file too, to say that it is too old.
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(tempfile.TemporaryFile())
        yield Started(
            stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)), output
        )


def run_pytest(pythons: Sequence[Path], words: Sequence[str]) -> list[str]:
    """Run the tests with all clients at the same time. Returns what failed.

    The tests of the last client are halved, unless pytest is given words. The output of its second half is shown live,
    that of the other runs afterwards. Slow tests, and unless pytest is given words all folders but OLDEST_CLIENTS, run
    with the last client only, because they test processes and not versions.
    """

    def folders(names: Sequence[str]) -> list[str]:
        return [] if words else [str(ROOT / "tests" / name) for name in names]

    runs = [(python, ["-m", "not slow", *words, *folders(OLDEST_CLIENTS)]) for python in pythons[:-1]]
    first_half = folders(FIRST_HALF)
    runs += [(pythons[-1], first_half)] if first_half else []
    with contextlib.ExitStack() as stack:
        beside = [(python, stack.enter_context(started(python, "-m", "pytest", *given))) for python, given in runs]
        say(f"pytest in {pythons[-1].parent.parent.name}")
        others = [f"--ignore={folder}" for folder in first_half]
        failed = ["pytest"] if call(pythons[-1], "-m", "pytest", *others, *words) else []
        for python, pytest in beside:
            failed += ["pytest"] if pytest.finish(f"pytest in {python.parent.parent.name}") else []
    return failed


def lint(words: Sequence[str]) -> int:
    return verdict(checks(prepared(CLIENTS["newest"])))


def venv(words: Sequence[str]) -> int:
    print(prepared(CLIENTS["newest"]))
    return 0


def bench(words: Sequence[str]) -> int:
    return call(prepared(CLIENTS["newest"]), "-m", "benchmarks", *words)


def docs(words: Sequence[str]) -> int:
    python = prepared(DOCS)
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # a paragraph of advertisement in each build
    if words:
        return call(python, "-m", "mkdocs", *words)
    say("the site of the documentation")
    return call(python, "-m", "mkdocs", "build", "--quiet") or call(python, ROOT / "docs/scripts/style.py")


def release_check(words: Sequence[str]) -> int:
    return call(sys.executable, ROOT / "tests/tools/release_check.py", "--uv", uv(), *words)


def verdict(failed: Sequence[str]) -> int:
    # Print nothing after the last line of pytest, unless something else failed.
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def checks(python: Path) -> list[str]:
    """Run all checks except the tests. Returns the names of those that failed."""
    python_36 = [str(path.relative_to(ROOT)) for path in python_36_files()]
    commands: dict[str, list[str | Path]] = {
        "ruff check": [python, "-m", "ruff", "check"],
        "ruff format": [python, "-m", "ruff", "format", "--check"],
        "vermin": [python.parent / "vermin", "-q", "-t=3.6-", "--violations", "--no-tips", *python_36],
        "mypy": [python, ROOT / "project.py", "types"],
    }
    old = found_python("3.6")
    if old:
        # This file too: an older Python must reach the check of its version.
        commands["Python 3.6"] = [old, "-c", PARSE, *python_36, "project.py"]
    failed = []
    for name, command in commands.items():
        say(name)
        if call(*command):
            failed.append(name)
    return failed


def python_36_files() -> list[Path]:
    """Every file that must run on Python 3.6."""
    return sorted(path for folder in PYTHON_36_FOLDERS for path in (ROOT / folder).rglob("*.py"))


def types(words: Sequence[str]) -> int:
    """Check the types of both packages, of the plugins, and of the files that prepare the tests."""
    plugins = [path.parent for path in sorted(ROOT.glob("integrations/*/*/__init__.py"))]
    folders = [ROOT / "launcher", ROOT / "tests", *(plugin.parent for plugin in plugins)]
    os.environ["MYPYPATH"] = os.pathsep.join(map(str, folders))
    packages = [ROOT / "gym_service", ROOT / "launcher/gym_service_launcher", ROOT / "gym_service_plugin.py"]
    ours = [ROOT / "project.py", ROOT / "tests/support/targets.py", ROOT / "tests/conftest.py"]
    ours += [ROOT / "tests/client/typed_keywords.py", ROOT / "tests/tools/release_check.py"]
    return call(sys.executable, "-m", "mypy", *packages, *plugins, *ours)


def python_of(name: str) -> Path | None:
    """The Python of this client's venv; None if it is an extra client whose Python is missing, except in CI."""
    if name not in CLIENTS:
        raise Failed(f"There is no client {name!r}: --clients takes {', '.join(CLIENTS)}, with commas between")
    client = CLIENTS[name]
    if name == "newest":
        return python_with((*RUNTIME, "pytest"))
    if found_python(*client.pythons) or os.environ.get("CI") == "true":
        return prepared(client)
    say(f"no Python {client.pythons[0]} on this machine: the tests run without the {name} client")
    return None


def python_with(modules: Sequence[str]) -> Path:
    """The Python of .venv; or the running one, if nothing can be installed and it has these modules."""
    try:
        return prepared(CLIENTS["newest"])
    except Failed as failure:
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if missing:
            raise Failed(f"{failure}\nThe running Python lacks {', '.join(missing)}.") from None
        say(f"{failure}\nUsing {sys.executable}, which has what is needed.")
        os.environ["PYTHONPATH"] = IMPORTABLE
        return Path(sys.executable)


def prepared(client: Client) -> Path:
    """The Python of the client's venv. Rebuilds the venv only if its recipe has changed.

    Raises:
        Failed: uv is not available, or the installation failed. The text says what to try.
    """
    python, stamp = client.folder / "bin/python", client.folder / ".complete"
    recipe = b"\0".join(path.read_bytes() for path in (ROOT / "pyproject.toml", client.constraints))
    digest = hashlib.sha256(recipe).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    base = found_python(*client.pythons) or running_python(client)
    say(f"preparing {client.folder.name} with {base}")
    shutil.rmtree(client.folder, ignore_errors=True)
    packages: list[str | Path] = ["-e", ".", "--group", client.group, "-c", client.constraints]
    if call(uv(), "venv", "--quiet", "--no-project", "--python", base, client.folder) or call(
        uv(), "pip", "install", "--python", python, *packages
    ):
        raise Failed(f"{client.folder.name} could not be prepared; see uv's output above. Can this machine reach PyPI?")
    stamp.write_text(digest)
    return python


def running_python(client: Client) -> Path:
    if len(client.pythons) == 1:
        raise Failed(f"There is no Python {client.pythons[0]} on this machine; uv python install {client.pythons[0]}")
    # The base Python, if this is a venv: it may be the venv that is to be rebuilt.
    return Path(getattr(sys, "_base_executable", sys.executable))


def found_python(*wanted: str) -> Path | None:
    """An executable of the first of these versions that this machine has; None if it has none."""
    versions = launcher_versions()
    for minor in wanted:
        for candidate in (*versions.in_pyenv(minor), *versions.on_path(minor), *versions.in_conda(minor)):
            try:
                version, executable = versions.query_version(candidate)
            except ValueError:
                continue
            if versions.matches(version, minor):
                return Path(executable)
    return None


def launcher_versions() -> ModuleType:
    """The launcher's module that finds Pythons, imported from the clone, because nothing is installed yet."""
    sys.path[:0] = IMPORTABLE.split(os.pathsep)
    return importlib.import_module("gym_service_launcher.interpreters.discovery")


def uv() -> Path:
    """The uv on PATH, else the one that pip installs into .tools.

    Raises:
        Failed: there is no uv, and pip could not install it.
    """
    own = TOOLS / "bin/uv"
    found = shutil.which("uv")
    if found and uv_version(found) >= OLDEST_UV:
        return Path(found)
    if not own.exists():
        say("installing uv into .tools")
        # --target also works with a Python that the distribution manages (PEP 668).
        pip: list[str | Path] = [sys.executable, "-m", "pip", "install", "--quiet", "--target", TOOLS, "uv"]
        if call(*pip, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_DISABLE_PIP_VERSION_CHECK="1"):
            raise Failed("uv could not be installed; see pip's output above. Can this machine reach PyPI?")
    # In front of an older uv, so that all commands started from here use this one.
    os.environ["PATH"] = os.pathsep.join([str(own.parent), os.environ["PATH"]])
    return own


def uv_version(executable: str) -> tuple[int, ...]:
    ran = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)", ran.stdout)
    return tuple(map(int, found.groups())) if found else ()


def call(*command: str | Path, **variables: str) -> int:
    """Run a command in the clone, with its output on the terminal. Returns its exit code."""
    sys.stdout.flush()
    try:
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=False).returncode
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def arrange_environment() -> None:
    """Remove variables of an active venv or of a robot's set-up script; make sure that uv is found.

    Byte code is written: the tests start thousands of interpreters, and each would compile gym and numpy again.
    """
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    others = [folder for folder in folders if not Path(folder).is_relative_to(ROOT)]
    os.environ["PATH"] = os.pathsep.join([*others, str(TOOLS / "bin")])


COMMANDS = {
    "demo": demo,
    "test": test,
    "lint": lint,
    "venv": venv,
    "bench": bench,
    "docs": docs,
    "types": types,
    "release-check": release_check,
}


def main(words: Sequence[str]) -> int:
    if not words or words[0] not in COMMANDS:
        print(__doc__.strip() if __doc__ else "")
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    arrange_environment()
    try:
        return COMMANDS[words[0]](words[1:])
    except Failed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
