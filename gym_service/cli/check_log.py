"""When each entry was last checked, and whether it was in order. ``list`` shows it.

Knows the file of this record, and tells an entry that has changed since. Never knows what a check is. Python 3.10 and
up.
"""

import contextlib
import hashlib
import json
import os
import time
from typing import Any

from gym_service_launcher import user_dirs
from gym_service_launcher.config.envs_file import EnvsFile

NAME = "checks.json"


def write(file: EnvsFile, name: str, is_ok: bool) -> None:
    """Note that an entry was checked now. Without a folder of our own, nothing is noted."""
    found = _read()
    found.setdefault(str(file.path), {})[name] = {"time": time.time(), "ok": is_ok, "entry": _digest(file, name)}
    with contextlib.suppress(OSError):
        folder = user_dirs.private(user_dirs.state())
        unfinished = folder / f".{NAME}.{os.getpid()}"
        unfinished.write_text(json.dumps(found), encoding="utf-8")
        unfinished.replace(folder / NAME)


def last(file: EnvsFile, name: str) -> tuple[float, bool] | None:
    """How many seconds ago an entry was checked, and whether it was in order.

    None if it was never checked, or has changed since.
    """
    try:
        found = _read()[str(file.path)][name]
        return (time.time() - found["time"], found["ok"]) if found["entry"] == _digest(file, name) else None
    except (KeyError, TypeError):
        return None


def _read() -> dict[str, Any]:
    try:
        folder = user_dirs.private(user_dirs.state(), create=False)
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(file: EnvsFile, name: str) -> str:
    return hashlib.sha256(repr(file.entries.get(name)).encode()).hexdigest()
