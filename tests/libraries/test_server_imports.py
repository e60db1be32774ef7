"""What a server imports, and what the import of numpy leaves: no idle threads of OpenBLAS, and the garbage collector.

No finder and no other loader is left either. Large products start as many threads again.
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


# What a simulator sees of the import of numpy, and what is left of a finder that no import has used.
TRACES = """
import json, sys, types
from importlib.machinery import ExtensionFileLoader

package = types.ModuleType("gym_service")
package.__path__ = [{package!r}]
sys.modules["gym_service"] = package
from gym_service.server import blas_threads

finders = list(sys.meta_path)
stop = blas_threads.end_once_loaded()
found = dict(begun=len(sys.meta_path) - len(finders))
sys.path.insert(0, {broken!r})
try:
    import numpy
except Exception as error:
    found["raised"] = type(error).__name__
found["after the import"] = len(sys.meta_path) - len(finders)
stop()
found["stopped"] = finders == sys.meta_path
stop()
del sys.path[0]
for name in [name for name in sys.modules if name.partition(".")[0] == "numpy" and "raised" in found]:
    del sys.modules[name]
import numpy
modules = [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] == "numpy"]
specs = [module.__spec__ for module in modules if getattr(module, "__spec__", None)]
loaders = [spec.loader for spec in specs] + [getattr(module, "__loader__", None) for module in modules]
of_extensions = [loader for loader in loaders if isinstance(loader, ExtensionFileLoader)]
found["extensions"] = any(loader.name in blas_threads.LOADERS for loader in of_extensions)
found["types"] = sorted(set(type(loader).__name__ for loader in of_extensions))
found["attributes"] = sorted(set().union(*map(vars, of_extensions)))
found["changed"] = [repr(loader) for loader in loaders if "exec_module" in getattr(loader, "__dict__", ())
                    and not isinstance(loader, type)]
print(json.dumps(found))
"""
UNCHANGED = {
    "begun": 1,
    "stopped": True,
    "extensions": True,
    "changed": [],
    "types": ["ExtensionFileLoader"],
    "attributes": ["name", "path"],
}


def traces(target: str, broken: Path | str = "") -> dict[str, Any]:
    program = TRACES.format(package=str(REPOSITORY / "gym_service"), broken=str(broken))
    done = subprocess.run([str(TARGETS[target].python()), "-c", program], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("target", FLOOR_AND_CEILING)
def test_a_simulator_sees_no_finder_and_no_other_loader(target: str) -> None:
    assert traces(target) == {**UNCHANGED, "after the import": 0}


@pytest.mark.parametrize("target", FLOOR_AND_CEILING)
def test_a_numpy_that_raises_leaves_no_finder(target: str, tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text("raise RuntimeError('of numpy')")
    # Nothing has asked for the extension, so the finder stays until its end.
    assert traces(target, tmp_path) == {**UNCHANGED, "after the import": 1, "raised": "RuntimeError"}


@pytest.mark.parametrize("target", FLOOR_AND_CEILING)
def test_an_extension_that_cannot_be_loaded_leaves_no_finder(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "numpy/core"
    folder.mkdir(parents=True)
    (tmp_path / "numpy/__init__.py").write_text("from numpy.core import _multiarray_umath")
    (folder / "__init__.py").touch()
    (folder / "_multiarray_umath.so").write_bytes(b"no extension")
    assert traces(target, tmp_path) == {**UNCHANGED, "after the import": 0, "raised": "ImportError"}


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
        assert env.call("reporting:finders_of", "gym_service.server.blas") == []
