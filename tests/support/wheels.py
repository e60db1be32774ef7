"""The wheels of a small simulator, in a folder: a simulated container has no network, and a lock needs no index.

Knows pip. Never knows gym_service. Python 3.10 and up.
"""

import hashlib
import subprocess
from pathlib import Path

from gym_service_launcher.interpreters.find import find_interpreter

from support.targets import REPOSITORY, cache_folder, locked

VERSION = "3.13"
PINS = ("gymnasium==1.4.0", "numpy==2.5.5", "cloudpickle==3.1.2")
# Computed at import: a test may change XDG_CACHE_HOME later.
FOLDER = cache_folder() / f"wheels-{hashlib.sha256(repr((VERSION, PINS)).encode()).hexdigest()[:12]}"


def base_python() -> str:
    """The Python that the wheels are for."""
    return str(find_interpreter(VERSION, REPOSITORY))


def folder() -> Path:
    """The folder with the wheels, downloaded once."""
    with locked(FOLDER.with_suffix(".lock")):
        if not (FOLDER / ".complete").exists():
            command = [base_python(), "-m", "pip", "download", "-q", "-d", str(FOLDER), "--only-binary", ":all:", *PINS]
            subprocess.run(command, check=True, capture_output=True)
            (FOLDER / ".complete").touch()
    return FOLDER


def requires(*more: str) -> list[str]:
    """The requirements of the simulator, from these wheels only."""
    return ["--no-index", f"--find-links {folder()}", *PINS, *more]
