"""``gym-service cache``: the venvs that were built for envs.toml, and removing those that are not needed.

Knows the cache, the running servers and how they are printed. Never knows how a venv is built. Python 3.10 and up.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from gym_service_launcher.interpreters import venv_cache
from gym_service_launcher.interpreters.venv_cache import DAY_S, CachedVenv
from gym_service_launcher.interpreters.venvs import cache_folder
from gym_service_launcher.processes import pidfiles

from gym_service.cli.tables import print_columns

HEADINGS = ("venv", "state", "Python", "size", "last used", "asked for by")
HOUR_S = 3600.0


def show(arguments: argparse.Namespace) -> int:
    """Print the venvs of the cache. Returns the exit code."""
    venvs = venv_cache.cached_venvs()
    if arguments.json:
        print(json.dumps([_data(venv) for venv in venvs], indent=1))
        return 0
    print(cache_folder())
    if not venvs:
        print("there is no venv", file=sys.stderr)
        return 0
    print_columns([HEADINGS, *(_cells(venv) for venv in venvs)])
    print(f"{_size(sum(venv.size_bytes for venv in venvs))} in {_venvs(len(venvs))}")
    return 0


def prune(arguments: argparse.Namespace) -> int:
    """Remove the venvs that are not needed. Returns the exit code."""
    freed_bytes, count = 0, 0
    for venv in venv_cache.cached_venvs():
        why = "--all" if arguments.all else venv_cache.why_removable(venv, arguments.unused_for)
        users = [server.pid for server in pidfiles.servers_in(venv.path)] if why else []
        if users:
            print(f"{venv.name}: kept, in use by process {', '.join(map(str, users))}")
        elif why:
            if not arguments.dry_run:
                venv_cache.remove(venv, lambda line: print(line, file=sys.stderr, flush=True))
            freed_bytes, count = freed_bytes + venv.size_bytes, count + 1
            print(f"{venv.name}: {'would be removed' if arguments.dry_run else 'removed'} ({why})")
    print(f"{_venvs(count)}, {_size(freed_bytes)}")
    return 0


def _cells(venv: CachedVenv) -> Sequence[str]:
    names = ", ".join(dict.fromkeys(name for _, name in venv.asked_by))
    asked_by = names or ("no entry any more" if venv.was_asked_by else "")
    return (venv.name, venv.state, venv.python, _size(venv.size_bytes), _ago(venv.unused_s), asked_by)


def _data(venv: CachedVenv) -> dict[str, object]:
    return {
        "name": venv.name,
        "path": str(venv.path),
        "state": venv.state,
        "python": venv.python,
        "contents": venv.contents,
        "size_bytes": venv.size_bytes,
        "unused_s": round(venv.unused_s, 1),
        "asked_by": [{"file": file, "name": name} for file, name in venv.asked_by],
    }


def _venvs(count: int) -> str:
    return f"{count} venv{'' if count == 1 else 's'}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.0f} MiB" if size_bytes < 1024**3 else f"{size_bytes / 1024**3:.1f} GiB"


def _ago(time_s: float) -> str:
    if time_s < HOUR_S:
        return f"{time_s / 60:.0f} min ago"
    return f"{time_s / HOUR_S:.0f} h ago" if time_s < DAY_S else f"{time_s / DAY_S:.0f} days ago"
