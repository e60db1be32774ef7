"""The check before a release: builds the distributions, installs the wheel into a clean venv and uses it there.

    python3 project.py release-check [--folder DIR] [--python VERSION] [--no-pyright]

It builds the sdist and the wheel of gym-service and of each plugin, runs ``twine check``, looks into the wheels,
installs the wheel of gym-service into a new venv (not editable, without any tool), runs the command, plays one env, and
has mypy and pyright check PROGRAM against the installed package.

Knows uv, wheels and the output of the two type checkers. Never imports gym-service. Standard library
only. Python 3.10 and up. Needs PyPI; pyright also needs node, and the npm registry for its first run.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent.parent
TOOLS = ("twine", "readme-renderer[md]", "mypy", "pyright")

# The files that the wheel must have, and the only folders that its top may have.
TYPED = ("gym_service/py.typed", "gym_service_launcher/py.typed")
TOP_LEVEL = {"gym_service", "gym_service_launcher", "gym_service_plugin.py"}

PLAY = """
import sys
import gym_service
assert "site-packages" in gym_service.__file__, gym_service.__file__
env = gym_service.make("CartPole-v1", python=sys.executable)
observation, info = env.reset(seed=1)
observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
print(observation.shape, reward)
env.close()
"""
PLAYED = "(4,) 1.0\n"

# A program for the type checkers. They must flag each line that ends in WRONG, and no other line.
WRONG = "# wrong"
PROGRAM = re.sub(r"# type: ignore.*", WRONG, (ROOT / "tests/client/typed_keywords.py").read_text())
PROGRAM += "\nreveal_type(gym_service.make)\n"
# The signature of gym_service.make that each checker must reveal, in part.
REVEALED = {
    "mypy": r"def \(env_id: str, \*, render_mode: str \| None =, \*\*options: .*EntryOptions, .*'python'\?: str \|.*"
    r"\) -> gym_service\.client\.env\.RemoteEnv",
    "pyright": r"\(env_id: str, \*, render_mode: str \| None = \S+, \*\*options: \*\*EntryOptions\) -> RemoteEnv",
}
# The pattern of one line of their output: file, line, kind, text.
FOUND = {
    "mypy": re.compile(r"^[^:\s]*program\.py:(\d+): (error|note): (.*)$", re.MULTILINE),
    "pyright": re.compile(r"^\s*\S*program\.py:(\d+):\d+ - (error|information): (.*)$", re.MULTILINE),
}


class Failed(Exception):
    """A step of the check failed. The text says which, and shows the output."""


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="project.py release-check", allow_abbrev=False)
    parser.add_argument("--uv", default="uv", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="put the distributions there (default: a temporary folder)")
    parser.add_argument("--python", default=base_python(), help="of the clean venv (default: this one)")
    parser.add_argument("--no-pyright", action="store_true", help="for a machine without node or the npm registry")
    options = parser.parse_args(words)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            check(options.uv, options.folder or Path(scratch, "dist"), Path(scratch), options)
    except Failed as failure:
        print(f"\nrelease-check failed: {failure}", file=sys.stderr)
        return 1
    return 0


def check(uv: str, dist: Path, scratch: Path, options: argparse.Namespace) -> None:
    tools = new_venv(uv, scratch / "tools", options.python, TOOLS)
    sources = [ROOT, *(path.parent for path in sorted(ROOT.glob("integrations/*/pyproject.toml")))]
    for source in sources:
        done(f"build {source.name}", uv, "build", "--out-dir", dist, source)
    built: list[Path] = sorted([*dist.glob("*.whl"), *dist.glob("*.tar.gz")])
    done("twine check", tools.parent / "twine", "check", "--strict", *built)
    wheel = only(dist.glob("gym_service-*.whl"))
    check_wheel(names_in(wheel))
    for plugin in dist.glob("*.whl"):
        if plugin != wheel:
            check_typed(names_in(plugin))
    python = new_venv(uv, scratch / "clean", options.python, [str(wheel)])
    check_use(python, wheel)
    check_types("mypy", [tools, "-m", "mypy", "--strict", "--python-executable", python], scratch)
    if not options.no_pyright:
        check_types("pyright", [tools, "-m", "pyright", "--pythonpath", python], scratch)
    say(f"all is well: {', '.join(path.name for path in built)}")


def check_wheel(names: Iterable[str]) -> None:
    """Raise Failed if the wheel of gym-service lacks a file, or has one that does not belong there."""
    names = set(names)
    missing = [name for name in TYPED if name not in names]
    if missing:
        raise Failed(f"the wheel lacks {', '.join(missing)}")
    tops = {name.partition("/")[0] for name in names}
    foreign = sorted(top for top in tops - TOP_LEVEL if not top.endswith(".dist-info"))
    if foreign:
        raise Failed(f"the wheel holds {', '.join(foreign)}")


def check_typed(names: Iterable[str]) -> None:
    """Raise Failed if a plugin's wheel has no py.typed."""
    if not any(name.endswith("/py.typed") for name in names):
        raise Failed("a plugin's wheel lacks py.typed")


def check_use(python: Path, wheel: Path) -> None:
    """Use the command and one env in the clean venv, from a folder without our source."""
    version = f"gym-service {wheel.name.split('-')[1]}\n"
    commands: dict[str, list[str | Path]] = {
        "gym-service --version": [python.parent / "gym-service", "--version"],
        "python -m gym_service --version": [python, "-m", "gym_service", "--version"],
    }
    for what, command in commands.items():
        printed = done(what, *command)
        if printed != version:
            raise Failed(f"{what} printed {printed!r}; expected {version!r}")
    printed = done("one env", python, "-c", PLAY)
    if printed != PLAYED:
        raise Failed(f"the env gave {printed!r}; expected {PLAYED!r}")


def check_types(checker: str, command: Sequence[str | Path], scratch: Path) -> None:
    """Let a type checker read PROGRAM, and judge its output."""
    program = scratch / "program.py"
    program.write_text(PROGRAM)
    say(f"{checker}: the signature of gym_service.make, and mistakes in its keywords")
    judge_types(checker, run(*command, program).stdout)


def judge_types(checker: str, output: str) -> None:
    """Raise Failed unless the output reveals the signature and flags exactly the wrong lines."""
    found = [(int(line), kind, text) for line, kind, text in FOUND[checker].findall(output)]
    wrong = {number for number, line in enumerate(PROGRAM.split("\n"), 1) if line.endswith(WRONG)}
    flagged = {line for line, kind, _ in found if kind == "error"}
    revealed = next((text for _, _, text in found if text.startswith(("Revealed type is", "Type of"))), "")
    if flagged != wrong:
        raise Failed(f"{checker} flagged the lines {sorted(flagged)}; expected {sorted(wrong)}\n{output}")
    if not re.search(REVEALED[checker], revealed):
        raise Failed(f"{checker} reveals {revealed!r} for gym_service.make\n{output}")
    print(revealed)


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        return opened.namelist()


def new_venv(uv: str, folder: Path, python: str, packages: Sequence[str]) -> Path:
    """The Python of a new venv with these packages."""
    done(f"a venv with {', '.join(packages)}", uv, "venv", "--quiet", "--no-project", "--python", python, folder)
    done("", uv, "pip", "install", "--quiet", "--python", folder / "bin/python", *packages)
    return folder / "bin/python"


def base_python() -> str:
    """The Python below the venv that runs this, if there is one."""
    return str(getattr(sys, "_base_executable", sys.executable))


def only(paths: Iterable[Path]) -> Path:
    found = list(paths)
    if len(found) != 1:
        raise Failed(f"expected one wheel of gym-service, found {[path.name for path in found]}")
    return found[0]


def done(what: str, *command: str | Path) -> str:
    """Run a command that must succeed, and return what it printed."""
    if what:
        say(what)
    ran = run(*command)
    if ran.returncode:
        raise Failed(f"{what or command[0]}: exit code {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run it from the root of the file system, so that no file of the clone can be imported by accident."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(command, cwd="/", env=variables, capture_output=True, text=True, check=False)


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
