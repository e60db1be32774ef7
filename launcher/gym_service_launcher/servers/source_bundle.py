"""The bundle: what a command is sent first. It holds our source files as text, and an order for them.

Knows which files those are, and how an interpreter is made to load them. Never knows where that interpreter runs.
Python 3.10 and up; the remote side needs Python 3.6.

The interpreter starts in a mode that reads its program line by line. The words for that need no quotes in any shell:
``ssh`` hands them to a shell, and to one more for each host on the way, while ``docker`` and ``srun`` use none. A
program on the command line would need quotes for the one and none for the other.

The bundle is three lines: a program; the order, which that program reads; and a line that ends an interpreter which
could not run the program. Secrets are in the order and on no command line.

What must change together: the keys of the order with ``standalone/remote_guardian.py``, which carries it out.
"""

import base64
import importlib.util
import json
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

# -I and -S: nothing is imported from the working directory or from what is installed. -q: no banner.
WORDS = ("-I", "-S", "-m", "code", "-q")

# The folders that travel: everything that a server and its guardian load, and nothing of the client's.
FOLDERS = {"gym_service": ("protocol", "transport", "server"), "gym_service_launcher": ("standalone",)}
IMPORTER = "gym_service_launcher/standalone/memory_importer.py"

IS_A_TERMINAL = "standard input is a terminal on the remote side, and a terminal changes the bytes that pass it"
# One line of less than 4,095 bytes: a terminal drops the rest of a longer one. So a terminal is refused before the
# order is read.
BOOTSTRAP = (
    "import os, sys; "
    f"sys.stdin.isatty() and (os.write(2, b'gym-service: {IS_A_TERMINAL}\\n'), os._exit(2)); "
    "import base64, json, zlib; "
    "order = json.loads(zlib.decompress(base64.b64decode(sys.stdin.readline())).decode()); "
    "end = sys.stdin.readline(); "
    f"names = {{}}; exec(order['sources']['{IMPORTER}'], names); "
    "names['install'](order['sources']); "
    "from gym_service_launcher.standalone import remote_guardian; remote_guardian.main(order)"
)
GIVE_UP = "import os; os._exit(1)"
# What only servers on this machine use: viewers look at those alone, and warm fork servers are here.
ONLY_HERE = {
    "episode_tally.py", "image_files.py", "random_states.py", "unnoticed_render.py", "viewed_env.py", "viewer_link.py",
    "run_guardian.py", "warm_clients.py", "warm_connection.py", "warm_forks.py", "warm_guardian.py",
}  # fmt: skip


def make_bundle(
    *,
    python: str,
    environ: Mapping[str, str | Literal[False]],
    activate: Iterable[str] = (),
    pythonpath: Iterable[str],
    cwd: str,
    mark: bytes,
    close_s: float,
    venv: Mapping[str, Any] | None = None,
    serve: bool = True,
) -> bytes:
    """The lines for a server on the remote side.

    Args:
        python: the name of its interpreter there.
        environ: environment variables in addition to those that the command finds there; False unsets one.
        activate: scripts there that a shell sources first; relative as ``pythonpath`` is.
        pythonpath: folders to import from in addition; relative to where the command starts there, as ``cwd`` is.
        cwd: its working directory; empty for where the command starts.
        mark: what the server sends first.
        close_s: how long it may take to end, in seconds, once its env is closed.
        venv: an order for a venv, which is built first (``venv_builder.py``); the server then runs in it.
        serve: whether a server follows.
    """
    order = {
        "python": python,
        "environ": dict(environ),
        "activate": list(activate),
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
    """The text of each file that travels, by its path below the packages; the ``__init__`` of both is empty."""
    found = {f"{package}/__init__.py": "" for package in FOLDERS}
    for package, folders in FOLDERS.items():
        root = _folder(package)
        for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
            if path.name not in ONLY_HERE:
                found[f"{package}/{path.relative_to(root).as_posix()}"] = path.read_text("utf-8")
    return found


def _folder(package: str) -> Path:
    """The folder of a package, found without running any of its code."""
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])
