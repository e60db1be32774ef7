"""The import rules of the two packages, read from their source: which folder may import which, and what is exported.

The rules are those of docs/architecture.md. They apply to every import, also inside a function or under TYPE_CHECKING.
RULES and EXCEPTIONS list all imports that are allowed across folders. Python 3.10 and up.
"""

import ast
import importlib
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
# tomllib is missing in the oldest Python, where tomli replaces it.
STANDARD = sys.stdlib_module_names | {"tomllib"}
PACKAGES = {"gym_service": REPOSITORY, "gym_service_launcher": REPOSITORY / "launcher"}
LAUNCHER = "gym_service_launcher"
# The probes import packages of the target, each in a separate process, to see whether that works.
EXCEPTIONS = {"gym_service_launcher.standalone.probe imports numpy"} | {
    f"gym_service.server.offscreen_probe imports {name}" for name in ("mujoco", "OpenGL", "pyglet", "pyglet.window")
}

# A folder or file of gym_service, and what it may import from this project (LAUNCHER: any of the launcher) and others.
RULES = {
    "protocol": {"numpy"},
    "transport": {"protocol", "numpy", "PIL"},
    "server": {"transport", "protocol", "numpy", "cloudpickle"},
    "client": {"transport", "protocol", "errors", "numpy", "gymnasium", "cloudpickle", "pygame", "pettingzoo"},
    # typing_extensions: only for type checkers, until Python 3.11 is the oldest.
    "factory": {"client", "transport", "protocol", "errors", "gymnasium", "typing_extensions", LAUNCHER},
    "testing": {"factory", "client", "errors", "protocol", "numpy", "gymnasium", "rich", LAUNCHER},
    # From testing: the reference run, with which a replay runs in the simulator's own process.
    "traces": {"factory", "client", "testing", "errors", "protocol", "numpy", "gymnasium", "minari"},
    "envs": {"factory", "client", "errors", LAUNCHER},
    "errors": {"gymnasium", LAUNCHER},
    "video": {"errors", "numpy", "PIL", "av"},
    "viewer": {"errors", "protocol", "numpy", "PIL", "aiohttp", LAUNCHER},
    "cli": {"factory", "testing", "traces", "video", "viewer", "errors", "rich", "tomlkit", "shtab", LAUNCHER},
    "__init__": {"factory", "client", "envs", "errors", "protocol", "traces"},
    "__main__": {"cli"},
    "registration": {"factory"},
}
# The same for the launcher, which imports neither numpy, gymnasium nor gym_service.
LEAVES = {"standalone", "errors", "user_dirs", "spelling", "tables"}
LAUNCHER_RULES = {
    "standalone": set(),
    "errors": set(),
    "spelling": set(),
    "tables": {"rich"},
    "user_dirs": {"standalone"},
    "config": {*LEAVES, "tomli"},
    "interpreters": {*LEAVES, "config"},
    "processes": {*LEAVES, "config"},
    "net": {*LEAVES, "config"},
    "servers": {*LEAVES, "config", "interpreters", "processes", "net"},
    "listener": {*LEAVES, "config", "interpreters", "processes", "net", "servers"},
    "__init__": set(),
}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """The dotted name of each module of a package, and its file."""
    for path in sorted((PACKAGES[package] / package).rglob("*.py")):
        parts = path.relative_to(PACKAGES[package]).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path: Path, known: set[str]) -> Iterator[str]:
    """The modules that a file imports: ours by full name, others by top-level name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def part(module: str) -> str:
    """The top-level folder or file of its package to which a module belongs."""
    return ([*module.split("."), "__init__"])[1]


@pytest.mark.parametrize(("package", "rules"), [("gym_service", RULES), (LAUNCHER, LAUNCHER_RULES)])
def test_each_folder_imports_what_its_rule_allows(package: str, rules: dict[str, set[str]]) -> None:
    known = {name for each in PACKAGES for name, _ in modules(each)}
    wrong = []
    for name, path in modules(package):
        own = part(name)
        for target in imported(path, known):
            top = target.partition(".")[0]
            there = part(target) if top == package else top
            if there != own and there not in rules[own] and top not in STANDARD:
                wrong.append(f"{name} imports {target}")
    assert set(wrong) <= EXCEPTIONS


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_goes_round_in_a_circle(package: str) -> None:
    names = dict(modules(package))
    graph = {name: {other for other in imported(path, set(names)) if other in names} for name, path in names.items()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_that_a_module_exports_exists(package: str) -> None:
    exporting = [name for name, path in modules(package) if "\n__all__" in path.read_text(encoding="utf-8")]
    missing = [
        f"{name}.{each}"
        for name, module in ((name, importlib.import_module(name)) for name in exporting)
        for each in module.__all__
        if not hasattr(module, each)
    ]
    assert not missing
