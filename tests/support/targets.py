"""The interpreters that the tests drive: one venv per recipe, built once, kept outside the repository.

Knows which Python, which gym and which simulators the tests need, and how to install each. Never knows gym-service's
wire or servers. Python 3.10 and up.

A venv is in ``$GYM_SERVICE_TEST_CACHE``, else in ``gym-service-tests`` of the user's cache folder, as ``<name>-<hash of
its recipe>``: after a change of its recipe it is built again. A test gets it with ``TARGETS["py38-gym021"].python()``.
From a shell::

    python tests/support/targets.py list
    python tests/support/targets.py build --parity        # or --real, --all, or names
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters import find
from gym_service_launcher.interpreters.discovery import find_uv
from gym_service_launcher.standalone.env_vars import without_python_vars

REPOSITORY = Path(__file__).absolute().parent.parent.parent

# CI must have these Pythons; it tests any others that it finds.
CI_VERSIONS = ("3.8", "3.10", "3.11", "3.12")

# A build is a download and perhaps a compiler run. Anything longer than this (seconds) hangs.
BUILD_TIMEOUT_S = 900


class TargetMissing(Exception):
    """A target is not available on this machine; the text names what is missing."""


@dataclass(frozen=True)
class Target:
    """A venv by its recipe; requirements are written as on a command line.

    ``kind`` says which tests use it: "long" are real simulators that are only played by hand. ``pip`` is the tool for
    gym 0.21, whose metadata uv refuses; ``first`` is installed before the rest, such as a setuptools old enough to
    build it.
    """

    name: str
    version: str
    requirements: str
    kind: Literal["parity", "real", "long", "integration"] = "parity"
    tool: Literal["uv", "pip"] = "uv"
    first: str = ""

    @property
    def folder(self) -> Path:
        recipe = repr((self.version, self.tool, self.first, self.requirements))
        return cache_folder() / f"{self.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"

    @property
    def is_built(self) -> bool:
        # exists() follows the link: a venv whose Python was uninstalled is not built.
        return (self.folder / ".complete").exists() and self._python.exists()

    @property
    def missing_reason(self) -> str | None:
        """Why this target cannot be built on this machine, or None. Builds nothing."""
        if self.is_built:
            return None
        if find_interpreter(self.version) is None:
            return f"target {self.name} needs Python {self.version}, which is not on this machine"
        if self.tool == "uv" and find_uv() is None:
            return f"target {self.name} is built with uv, which is missing (python3 project.py test brings it)"
        return None

    def python(self) -> Path:
        """The path of the venv's Python, for a test. The test is skipped if the target is not available.

        Built on first use. On CI a target that CI must have is never skipped: the test fails.
        """
        try:
            return self.build()
        except TargetMissing as missing:
            if self.is_required:
                raise
            import pytest

            pytest.skip(str(missing))

    @property
    def is_required(self) -> bool:
        is_ci = os.environ.get("CI") == "true"
        return is_ci and (self.version in CI_VERSIONS or find_interpreter(self.version) is not None)

    def build(self) -> Path:
        """The path of the venv's Python, built first if necessary. Blocks, also for another process's build.

        Raises:
            TargetMissing: no such interpreter, no uv, or the installation failed.
        """
        if not self.is_built:
            if reason := self.missing_reason:
                raise TargetMissing(reason)
            with locked(self.folder.with_suffix(".lock")):
                if not self.is_built:
                    self._build()
        return self._python

    @property
    def _python(self) -> Path:
        return self.folder / "bin" / "python"

    def _build(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with self.folder.with_suffix(".log").open("w") as log:
            for command in self._commands():
                print("$", *command, file=log, flush=True)
                self._run(command, log.fileno())
        (self.folder / ".complete").touch()

    def _commands(self) -> Iterator[list[str]]:
        base, folder, python = str(find_interpreter(self.version)), str(self.folder), str(self._python)
        if self.tool == "uv":
            uv = find_uv() or ("uv",)
            yield [*uv, "venv", "--no-project", "--python", base, folder]
            yield [*uv, "pip", "install", "--python", python, *self.requirements.split()]
        else:
            install = [python, "-m", "pip", "install"]
            yield [base, "-m", "venv", folder]
            yield [*install, *self.first.split()]
            yield [*install, *self.requirements.split()]

    def _run(self, command: list[str], log: int) -> None:
        try:
            # The cache folder as working directory: uv would read a pyproject.toml in any other.
            subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cache_folder(),
                env=without_python_vars(os.environ),
                timeout=BUILD_TIMEOUT_S,
            )
        except (OSError, subprocess.SubprocessError) as error:
            log_file = self.folder.with_suffix(".log")
            tail = "\n".join(log_file.read_text(errors="replace").splitlines()[-15:])
            text = f"target {self.name} could not be built: {error}\n{tail}\n({log_file})"
            raise TargetMissing(text) from error


def cache_folder() -> Path:
    """The folder of the venvs, which this creates if necessary."""
    own = os.environ.get("GYM_SERVICE_TEST_CACHE")
    general = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(own or f"{general}/gym-service-tests").expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_interpreter(version: str) -> Path | None:
    """An executable of this Python, such as ``"3.8"``, that was found to run."""
    try:
        return find.find_interpreter(version, REPOSITORY)
    except ConfigError:
        return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Allow one builder at a time, among processes and threads; the lock of a builder that dies is released."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# The last tools that build gym 0.21, whose setup.py newer ones refuse. The pip 18 of a bare 3.6 is too old.
OLD_TOOLS = "pip==24.0 setuptools==65.7.0 wheel==0.38.4"
OLDEST_TOOLS = "pip==21.3.1 setuptools==59.6.0 wheel==0.37.1"

# gym 0.21 renders classic_control through pyglet and a display, toy_text as "ansi" only: it gets no
# pygame. (FrozenLake's render("rgb_array") there closes sys.stdout.)
RECIPES = (
    Target(
        "py36-gym021",
        "3.6",
        "gym==0.21.0 numpy==1.19.5 cloudpickle==2.2.1 importlib-metadata==4.8.3 zipp==3.6.0",
        tool="pip",
        first=OLDEST_TOOLS,
    ),
    Target(
        "py37-gym021",
        "3.7",
        "gym==0.21.0 numpy==1.21.6 cloudpickle==2.2.1 importlib-metadata==4.13.0",
        tool="pip",
        first=OLD_TOOLS,
    ),
    Target("py38-gym021", "3.8", "gym==0.21.0 numpy==1.19.5 cloudpickle==2.2.1", tool="pip", first=OLD_TOOLS),
    Target("py38-gym025", "3.8", "gym==0.25.2 numpy==1.22.4 cloudpickle==2.2.1 pygame==2.6.1"),
    Target("py38-gym026", "3.8", "gym==0.26.2 numpy==1.24.4 cloudpickle==2.2.1 pygame==2.6.1"),
    Target("py39-gym026", "3.9", "gym==0.26.2 numpy==1.23.5 cloudpickle==2.2.1 pygame==2.6.1"),
    Target("py38-gymnasium028", "3.8", "gymnasium==0.28.1 numpy==1.24.4 cloudpickle==3.1.1 pygame==2.6.1"),
    Target("py39-gymnasium029", "3.9", "gymnasium==0.29.1 numpy==1.26.4 cloudpickle==3.1.1 pygame==2.6.1"),
    Target("py310-gymnasium026", "3.10", "gymnasium==0.26.3 numpy==1.23.5 cloudpickle==3.1.1 pygame==2.6.1"),
    Target("py310-gymnasium029", "3.10", "gymnasium==0.29.1 numpy==1.26.4 cloudpickle==3.1.1 pygame==2.6.1"),
    Target("py311-gymnasium10", "3.11", "gymnasium==1.0.0 numpy==1.26.4 cloudpickle==3.1.1 pygame==2.6.1"),
    Target("py312-gymnasium14", "3.12", "gymnasium==1.4.0 numpy==2.0.2 cloudpickle==3.1.2 pygame==2.6.1"),
    Target("py313-gymnasium14", "3.13", "gymnasium==1.4.0 numpy==2.5.5 cloudpickle==3.1.2 pygame==2.6.1"),
    Target("pusht", "3.10", "gym-pusht==0.1.8 pymunk==6.11.1 gymnasium==0.29.1 numpy==1.26.4", "real"),
    Target("xarm", "3.11", "gym-xarm==0.1.1 gymnasium==0.29.1 mujoco==2.3.7 numpy==1.26.4", "real"),
    Target("aloha", "3.11", "gym-aloha==0.1.5 gymnasium==1.4.0 mujoco==3.8.1 numpy==2.4.6", "real"),
    Target(
        "bullet-gym021",
        "3.8",
        "gym==0.21.0 numpy==1.24.4 cloudpickle==2.2.1 pybullet==3.2.5 pyglet==1.5.27",
        "real",
        tool="pip",
        first=OLD_TOOLS,
    ),
    Target("minigrid", "3.12", "minigrid==3.2.0 gymnasium==1.4.0 numpy==2.5.5", "real"),
    Target("metaworld", "3.11", "metaworld==3.1.1 gymnasium==1.4.0 mujoco==3.3.0 numpy==2.4.6 packaging==26.3", "real"),
    Target("panda", "3.10", "panda-gym==3.0.7 gymnasium==1.4.0 numpy==2.2.6 pybullet==3.2.7", "real"),
    Target("ale", "3.12", "ale-py==0.12.1 gymnasium==1.4.0 numpy==2.5.5", "real"),
    Target("minigrid-2.3.1", "3.10", "minigrid==2.3.1 gymnasium==0.29.1 numpy==1.26.4", "real"),
    Target("mo-gymnasium", "3.12", "mo-gymnasium==1.3.2 gymnasium==1.4.0 numpy==2.5.5", "real"),
    # gymnasium 1.4.0 imports packaging together with mujoco, but does not require it.
    Target("mujoco-2", "3.10", "gymnasium==0.29.1 mujoco==2.3.7 imageio==2.38.0 numpy==1.26.4", "real"),
    Target("mujoco-3", "3.11", "gymnasium==1.4.0 mujoco==3.8.1 imageio==2.38.1 packaging==26.4 numpy==2.4.6", "long"),
    Target("mujoco-4", "3.12", "gymnasium==1.4.0 mujoco==4.0.0 imageio==2.38.1 packaging==26.4 numpy==2.5.5", "long"),
    Target("procgen", "3.10", "procgen==0.10.7 gym==0.26.2 numpy==1.26.4", "long"),
    Target("sokoban", "3.10", "gym-sokoban==0.0.6 gym==0.26.2 numpy==1.26.4 setuptools==80.9.0", "long"),
    Target("highway-env", "3.12", "highway-env==1.12.1 gymnasium==1.4.0 numpy==2.5.5", "long"),
    Target("miniworld", "3.12", "miniworld==2.1.0 gymnasium==1.4.0 numpy==2.5.5 pyglet==1.5.31", "long"),
    Target("nle", "3.11", "nle==1.3.0 gymnasium==1.2.0 numpy==2.4.6", "long"),
    Target("anytrading", "3.12", "gym-anytrading==2.0.0 gymnasium==1.4.0 numpy==2.5.5 pandas==3.1.1", "long"),
    Target("at-import", "3.12", "gymnasium==1.4.0 absl-py==2.5.1 tyro==1.0.17 numpy==2.5.5", "long"),
    # The last torch on PyPI that needs no other package for its CUDA: 2 GB.
    Target("torch", "3.10", "torch==1.12.1 gymnasium==1.0.0 numpy==1.26.4 cloudpickle==3.1.1", "long"),
    Target("jax", "3.12", "gymnasium[jax]==1.4.0 jax==0.10.2 numpy==2.4.6", "long"),
    Target("envpool", "3.12", "envpool==1.2.7 gymnasium==1.4.0", "long"),
    Target("brax", "3.11", "brax==0.14.2 gym==0.26.2 numpy==1.26.4", "long"),
    Target("gymnax", "3.11", "gymnax==1.0.1 numpy==1.26.4 six==1.17.0", "long"),
    Target(
        "mani-skill",
        "3.11",
        "mani-skill==3.0.1 numpy==1.26.4 setuptools==80.9.0",
        "long",
        tool="pip",
        first="torch==2.13.0",
    ),
    # Without a gym: only the simulator is needed.
    Target("dm-env", "3.8", "dm-env==1.6 numpy==1.24.4", "real"),
    Target("robosuite", "3.11", "robosuite==1.5.2 mujoco==3.8.1 numpy==1.26.4 h5py==3.14.0", "real"),
    # With Shimmy, which provides the values for comparison.
    Target(
        "dm-control",
        "3.11",
        "dm_control==1.0.41 mujoco==3.8.1 bsuite==0.3.6 shimmy==2.0.1 gymnasium==1.4.0 numpy==2.4.6",
        "real",
    ),
    Target(
        "pettingzoo",
        "3.12",
        "pettingzoo==1.27.0 mpe2==1.1.1 pygame-ce==2.5.8 pymunk==7.3.1 rlcard==1.2.0 gymnasium==1.4.0 numpy==2.5.5",
        "real",
    ),
    Target("pettingzoo-old", "3.8", "pettingzoo==1.22.3 gymnasium==0.28.1 numpy==1.24.4 pygame==2.6.1", "real"),
    # 5 GB, most of it torch; only tests marked `integrations` use it.
    Target(
        "lerobot",
        "3.12",
        "lerobot[training,diffusion]==0.6.1 torch==2.11.0 torchvision==0.26.0 torchcodec==0.11.1 gymnasium==1.4.0 "
        "numpy==2.2.6 diffusers==0.39.0 datasets==4.8.5 huggingface-hub==1.33.0 av==15.1.0 rich==15.0.0 "
        "accelerate==1.14.0",
        "integration",
    ),
    # Clients, not targets: training libraries with gym-service. `build --all` omits them.
    Target(
        "trainers",
        "3.11",
        "stable-baselines3==2.9.2 minari==0.5.4 h5py==3.16.0 jax==0.10.2 tianshou==2.0.1 torchrl==0.14.1 "
        f"gymnasium==1.4.0 numpy==2.4.6 moviepy==2.2.1 --editable {REPOSITORY}",
        "integration",
        tool="pip",
        first="torch==2.13.0",
    ),
    Target(
        "supersuit",
        "3.11",
        "stable-baselines3==2.9.2 supersuit==3.11.0 pettingzoo==1.27.0 gymnasium==1.4.0 numpy==2.4.6 "
        f"--editable {REPOSITORY}",
        "integration",
        tool="pip",
        first="torch==2.13.0",
    ),
    Target(
        "rllib",
        "3.11",
        f"ray[rllib]==2.60.0 gymnasium==1.2.2 numpy==2.4.6 --editable {REPOSITORY}",
        "integration",
        tool="pip",
        first="torch==2.13.0",
    ),
    # Everything that Gymnasium's own tests need, so that none is skipped because of a missing package.
    Target(
        "gymnasium-suite",
        "3.11",
        "gymnasium[all]==1.4.0 numpy==2.4.6 mujoco==3.8.1 ale-py==0.12.1 pygame-ce==2.5.6 jax==0.10.2 moviepy==2.2.1 "
        f"scipy dill array-api-extra pytest==9.2.0 --editable {REPOSITORY}",
        "integration",
        tool="pip",
        first="torch==2.13.0",
    ),
)

TARGETS: dict[str, Target] = {target.name: target for target in RECIPES}


def build_all(targets: Sequence[Target]) -> int:
    """Build side by side, a line for each as it ends.

    Returns:
        The number of targets that are not available although CI must have them.
    """

    def build_one(target: Target) -> bool:
        begin = time.monotonic()
        try:
            target.build()
        except TargetMissing as missing:
            print(f"{'FAILED' if target.is_required else 'missing'}  {target.name}: {missing}", flush=True)
            return not target.is_required
        print(f"ready    {target.name:24} {time.monotonic() - begin:6.1f} s", flush=True)
        return True

    waiting = [target for target in targets if not target.is_built]
    print(f"{len(targets)} targets, {len(waiting)} to build, in {cache_folder()}", flush=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return list(pool.map(build_one, waiting)).count(False)


def list_all() -> None:
    for target in TARGETS.values():
        state = "built" if target.is_built else target.missing_reason or "not built yet"
        print(f"{target.name:24} {target.kind:7} {target.version:5} {state}")
        print(f"{'':24} {target.requirements}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build or list the venvs of the tests' target interpreters.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    build = commands.add_parser("build")
    build.add_argument("names", nargs="*", metavar="NAME")
    for kind in ("parity", "real", "all"):
        build.add_argument(f"--{kind}", action="store_const", dest="kind", const=kind)
    chosen = parser.parse_args(arguments)
    if chosen.command == "list":
        list_all()
        return 0
    if unknown := set(chosen.names) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))} (see: list)")
    kinds = {"parity", "real"} if chosen.kind == "all" else {chosen.kind}
    return build_all([t for t in TARGETS.values() if t.name in chosen.names or t.kind in kinds])


if __name__ == "__main__":
    sys.exit(main())
