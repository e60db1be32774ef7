"""How long until the first observation: of a fresh client, and of many workers at once.

Knows interpreters, envs.toml and clocks. Python 3.10 and up.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.children import Missing
from benchmarks.contenders import opened_vector
from benchmarks.interleaved import Clocked
from benchmarks.simulators import ENVS, Simulator

SLOW = Simulator("Slow-v0", "gym_bench_slow")

ENTRIES = """
[envs."CartPole-v1"]
python = {python!r}

[envs."Slow-v0"]
python = {python!r}
imports = ["gym_bench_slow"]
pythonpath = [{envs!r}]
{more}
"""
# How long the second of these takes to import here, unless a test says otherwise (s); and where it is kept warm.
IMPORT_S, WARM_IMPORT_S = "1", "5"
# An entry without it is one of today's; the block ends what is kept.
KEEP_WARM = "keep_warm_s = 600"
IMPORTED = "import gymnasium as gym"
IN_PROCESS = """
import gymnasium as gym
env = gym.make("CartPole-v1")
env.reset(seed=0)
"""
OURS = """
import gymnasium as gym, gym_service
env = gym.make("gym_service/CartPole-v1")
env.reset(seed=0)
"""
OURS_FIRST = """
import gym_service
env = gym_service.make("CartPole-v1")
env.reset(seed=0)
"""
IN_PROCESS_SLOW = """
import sys
sys.path.append(%r)
import gymnasium as gym
env = gym.make("gym_bench_slow:Slow-v0")
env.reset(seed=0)
""" % str(ENVS)
OURS_SLOW = OURS.replace("CartPole-v1", "Slow-v0")
# What two programs cost that do the same and know nothing of each other: the second one is the simulator's.
OTHER = """
import subprocess, sys
other = subprocess.Popen([sys.executable, "-c", %r], stdout=subprocess.PIPE)
"""
UNTIL_OTHER = """
assert other.stdout.read(1) == b"x"
other.wait()
"""
END = """
import os
os.write(1, b"x")
"""
TWO = IMPORTED + OTHER % (IN_PROCESS + END) + UNTIL_OTHER
TWO_FIRST = OTHER % (IN_PROCESS + END) + IMPORTED + UNTIL_OTHER


@contextmanager
def fresh_client(program: str, import_s: str = IMPORT_S, more: str = "") -> Iterator[Clocked]:
    """A fresh interpreter that runs this program, up to its end; closing what it opened is not counted.

    There is byte code of all that it imports, as in every installation that was used once. ``more``: lines of the entry
    of the slow simulator.
    """
    with tempfile.TemporaryDirectory(prefix="gym-bench-") as folder:
        file = Path(folder) / "envs.toml"
        file.write_text(ENTRIES.format(python=sys.executable, envs=str(ENVS), more=more))
        variables = {**os.environ, "GYM_SERVICE_ENVS": str(file), "PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")}
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        variables.setdefault("GYM_BENCH_IMPORT_S", import_s)
        variables["XDG_RUNTIME_DIR"] = folder
        _until_it_says_so(program, variables)
        try:
            yield clocked(lambda: _until_it_says_so(program, variables))
        finally:
            if more:
                subprocess.run([sys.executable, "-m", "gym_service", "stop", "--warm"], env=variables, check=True)


@contextmanager
def second_program() -> Iterator[Clocked]:
    """A fresh client of a simulator that an earlier one has left warm. Raises Missing where there is no such key."""
    from gym_service_launcher.config.entry import ENTRY_KEYS

    if "keep_warm_s" not in ENTRY_KEYS:
        raise Missing("not there yet: keep_warm_s")
    with fresh_client(OURS_SLOW, WARM_IMPORT_S, KEEP_WARM) as clocked_client:
        yield clocked_client


@contextmanager
def workers(count: int, **given: Any) -> Iterator[Clocked]:
    """So many workers with an env each, of a simulator that imports for two seconds; closing is not counted."""

    def start_s() -> float:
        begun = time.perf_counter()
        envs = opened_vector(SLOW, count, workers=count, **given)
        try:
            envs.reset(seed=0)
            return time.perf_counter() - begun
        finally:
            envs.close()

    yield clocked(start_s)


@contextmanager
def preforked_workers(count: int) -> Iterator[Clocked]:
    """The same with the entry's ``prefork``. Raises Missing where this version has no such key."""
    from gym_service.errors import ConfigError

    with workers(count, prefork=True) as started:
        try:
            started.block(1)
        except ConfigError as error:
            raise Missing(f"not there yet: {error}") from error
        yield started


def clocked(once_s: Callable[[], float]) -> Clocked:
    return Clocked(lambda calls: sum(once_s() for _ in range(calls)))


def _until_it_says_so(program: str, variables: dict[str, str]) -> float:
    begun = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program + END], env=variables, stdout=subprocess.PIPE) as process:
        assert process.stdout
        said = process.stdout.read(1)
        taken_s = time.perf_counter() - begun
    if said != b"x" or process.returncode:
        raise RuntimeError(f"a client that was to start ended with exit code {process.returncode}:\n{program}")
    return taken_s
