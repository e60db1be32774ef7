"""What a server imports, and what the import of numpy leaves: no idle threads of OpenBLAS, and the garbage collector.

Large products start as many threads again.
"""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import procfs
from support.in_target_runs import FLOOR_AND_CEILING
from support.paths import ENVS, REPOSITORY
from support.targets import TARGETS

import gym_service

# What hardly any env needs. Each of these takes some milliseconds of a start.
RARE = {
    *("decimal", "fractions", "uuid", "numpy.ma.", "gym_service.transport.image_codec"),
    *("gym_service.server.adapters.pettingzoo", "gym_service.server.adapters.dm_env"),
}

PROGRAM = """
import hashlib, json, os, sys, types

def threads():
    return len(os.listdir("/proc/self/task"))

package = types.ModuleType("gym_service")
package.__path__ = [{package!r}]
sys.modules["gym_service"] = package
from gym_service.server import blas_threads

finders = list(sys.meta_path)
if {ends}:
    blas_threads.end_once_loaded()
import numpy
found = dict(loaded=threads(), finders=finders == sys.meta_path)
square = numpy.random.RandomState(0).standard_normal((600, 600))
found["product"] = hashlib.sha256(numpy.dot(square, square).tobytes()).hexdigest()
found["working"] = threads()
print(json.dumps(found))
"""


def outcome(target: str, *, ends: bool) -> dict[str, Any]:
    program = PROGRAM.format(package=str(REPOSITORY / "gym_service"), ends=ends)
    done = subprocess.run([str(TARGETS[target].python()), "-c", program], capture_output=True, timeout=60, check=True)
    assert not done.stderr, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("target", FLOOR_AND_CEILING)
def test_the_idle_threads_end_and_come_back_with_the_same_product(target: str) -> None:
    usual = outcome(target, ends=False)
    if usual["loaded"] == 1:
        pytest.skip("numpy starts no threads here: one core, or another BLAS")
    found = outcome(target, ends=True)
    assert found["loaded"] == 1
    assert {**found, "loaded": usual["loaded"]} == usual


def test_a_server_has_one_thread_and_imports_nothing_that_its_env_does_not_need() -> None:
    given = {"python": sys.executable, "pythonpath": [str(ENVS)], "imports": ["reporting"]}
    with closing(gym_service.make("CartPole-v1", **given)) as env:
        env.reset(seed=0)
        (server,) = procfs.children(procfs.guardian_of())
        assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
        # Older versions of numpy import numpy.ma themselves.
        rare = RARE if np.lib.NumpyVersion(np.__version__) >= "2.5.0" else RARE - {"numpy.ma."}
        counts = {name: env.call("reporting:count_modules", name)[2] for name in rare}
        assert counts == dict.fromkeys(rare, 0)
        assert env.call("reporting:collects_garbage") is True
