"""What a command is sent before anything else: our own files, as text, and what to do with them over there.

Knows which files those are and how an interpreter is made to take them. Never knows where "there" is. Python 3.10 and
up; what it makes begins on 3.6.

The interpreter is started as one that reads its program line by line, with words in which no shell finds anything to
expand, split or quote: ``ssh`` gives what stands behind the host to a shell, once more for each host on the way;
``docker`` and ``srun`` give it to none. A program on the command line would need quotes for the one and none for the
other.

Then come three lines: a program; the order, which it reads; and the end of an interpreter that could not make anything
of the first. All that is secret is in the order, and on no command line.
"""

import base64
import importlib.util
import json
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

# -I and -S: whatever lies in the working directory, or is installed there, has no part in this. -q: no banner.
WORDS = ("-I", "-S", "-m", "code", "-q")

# What of each package travels: everything that a server and its guardian load, and nothing of the client's.
FOLDERS = {"gym_service": ("protocol", "transport", "server"), "gym_service_launcher": ("standalone",)}
IMPORTER = "gym_service_launcher/standalone/memory_importer.py"

# One line, below the 4,095 bytes that a terminal keeps of one; a terminal is told of before the order is read, since
# it would keep no more of that.
BOOTSTRAP = (
    "import os, sys; "
    "sys.stdin.isatty() and (os.write(2, b'gym-service: standard input is a terminal on the remote side, "
    "and a terminal changes the bytes that pass it\\n'), os._exit(2)); "
    "import base64, json, zlib; "
    "order = json.loads(zlib.decompress(base64.b64decode(sys.stdin.readline())).decode()); "
    "end = sys.stdin.readline(); "
    f"names = {{}}; exec(order['sources']['{IMPORTER}'], names); "
    "names['install'](order['sources']); "
    "from gym_service_launcher.standalone import remote_guardian; remote_guardian.main(order)"
)
GIVE_UP = "import os; os._exit(1)"


def make_bundle(
    *,
    python: str,
    environ: Mapping[str, str],
    pythonpath: Iterable[str],
    cwd: str,
    mark: bytes,
    close_s: float,
    venv: Mapping[str, Any] | None = None,
    serve: bool = True,
) -> bytes:
    """The lines for a server over there.

    Args:
        python: what its interpreter is called there.
        environ: what is added to the environment variables that it finds there.
        pythonpath: what it can import from besides; relative to where the command begins there, as ``cwd`` is.
        cwd: its working directory; empty for where the command begins.
        mark: what it begins to speak with.
        close_s: how long it may take to end, in seconds, once its env is closed.
        venv: an order for a venv, which is built first (``venv_builder.py``); the server then runs in it.
        serve: whether a server follows.
    """
    order = {
        "python": python,
        "environ": dict(environ),
        "pythonpath": list(pythonpath),
        "cwd": cwd,
        "mark": mark.hex(),
        "close_s": close_s,
        "venv": venv,
        "serve": serve,
        "sources": sources(),
    }
    line = base64.b64encode(zlib.compress(json.dumps(order).encode())).decode()
    return "".join(f"{text}\n" for text in (BOOTSTRAP, line, GIVE_UP)).encode()


@cache
def sources() -> dict[str, str]:
    """The files that travel, by the path that their module's name has; the two packages themselves are empty."""
    found = {f"{package}/__init__.py": "" for package in FOLDERS}
    for package, folders in FOLDERS.items():
        root = _folder(package)
        for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
            found[f"{package}/{path.relative_to(root).as_posix()}"] = path.read_text("utf-8")
    return found


def _folder(package: str) -> Path:
    """Where a package lies, found without running a line of it."""
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])
