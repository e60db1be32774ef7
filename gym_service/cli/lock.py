"""``gym-service lock``: writes the exact versions and a parity hash of each entry into envs.lock.

Knows entries, venvs, the lock and the parity hash. Never knows how versions are found or how an env is played. Python
3.10 and up.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gym_service_launcher.config import envs_file, lock
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.config.envs_file import EnvsFile
from gym_service_launcher.config.lock import LockedEnv, LockedVenv, LockFile
from gym_service_launcher.config.venv_keys import VENV_KEYS, VenvKeys
from gym_service_launcher.errors import GymServiceError
from gym_service_launcher.interpreters import locking
from gym_service_launcher.interpreters.venv_spec import spec_of
from gym_service_launcher.servers import over_command
from gym_service_launcher.standalone.installed_packages import changes

from gym_service.cli import sync
from gym_service.cli.sync import Build

# What decides a play, beside the venv. Not where the entry is reached, and not how long a call may take.
PLAY_KEYS = ("id", "entry_point", "imports", "setup", "kwargs", "api", "max_episode_steps", "wrappers")


@dataclass(frozen=True)
class Play:
    """An entry that is played: as it stands in envs.toml, its venv in the lock, and the same in that very venv."""

    entry: Entry
    venv: str
    inside: Entry


def run(arguments: argparse.Namespace) -> int:
    """Run the command; its exit code."""
    file = envs_file.load(arguments.envs or envs_file.find_or_fail())
    path = lock.path_of(file.path)
    before = lock.read(path) or LockFile()
    rows, builds = sync.plan(file, arguments.names)
    for build in builds:
        build.locked = None if arguments.upgrade else before.venv_for(build.spec.digest)
    jobs = arguments.jobs or min(os.cpu_count() or 1, sync.MOST_AT_ONCE)
    sync.run(builds, jobs, rebuild=arguments.upgrade, file=file.path)
    failed = [row.where for row in rows if row.state == "failed"] + [str(b.error) for b in builds if b.error]
    built = [build for build in builds if build.venv and not build.error]
    venvs = _locked_venvs(built, failed)
    plays = _plays(file, arguments.names, [build for build in built if _name_of(build) in venvs])
    if arguments.no_play:
        envs = {p.entry.name: LockedEnv(play_digest(p.entry), p.venv, no_hash="not played") for p in plays}
    else:
        envs = _played(plays, jobs, failed)
    after = LockFile(venvs, envs)
    if arguments.names:
        after = _merged(file, before, after)
    for text in failed:
        print(f"\n{text}", file=sys.stderr)
    return _compare(path, before, after) if arguments.check else _write(path, after, bool(failed))


def _locked_venvs(builds: Sequence[Build], failed: list[str]) -> dict[str, LockedVenv]:
    """What was built, with exact versions and hashes, by a name for each."""
    found: dict[str, LockedVenv] = {}
    for build in builds:
        assert build.venv
        try:
            found[_name_of(build)] = locking.locked_venv(build.spec, build.venv)
        except GymServiceError as error:
            failed.append(str(error))
    return found


def _name_of(build: Build) -> str:
    """What a venv is called in the lock. Two of the same label have another recipe."""
    return f"{build.spec.label}-{build.spec.digest[:6]}"


def _plays(file: EnvsFile, names: Sequence[str], builds: Sequence[Build]) -> list[Play]:
    """The entries that are played: those of the venvs, and those whose interpreter is not ours to build."""
    plays = []
    for build in builds:
        assert build.venv
        for entry in [file.entries.get(name) for name in build.names]:
            if isinstance(entry, Entry):
                plays.append(Play(entry, _name_of(build), _inside(entry, build.venv.python)))
    bare = [entry for entry in file.entries.values() if isinstance(entry, Entry) and not entry.builds_venv]
    plays += [Play(entry, "", entry) for entry in bare if not entry.address and (not names or entry.name in names)]
    return plays


def _merged(file: EnvsFile, before: LockFile, after: LockFile) -> LockFile:
    """A lock of some entries, and of the others what was locked, as long as envs.toml has them."""
    kept = {name: env for name, env in before.envs.items() if name in file.entries and name not in after.envs}
    used = {env.venv for env in kept.values()}
    venvs = {name: venv for name, venv in before.venvs.items() if name in used}
    return LockFile({**venvs, **after.venvs}, {**kept, **after.envs})


def _inside(entry: Entry, python: Path) -> Entry:
    """The entry, played in the venv that was inspected: no other one, and nothing is built."""
    blank = VenvKeys()
    keys: dict[str, Any] = {key: getattr(blank, key) for key in VENV_KEYS}
    if entry.is_remote and not entry.command:
        keys["command"] = over_command.route_of(entry).command
    return replace(entry, python=str(python), interpreter=None, **keys)


def _played(plays: Sequence[Play], jobs: int, failed: list[str]) -> dict[str, LockedEnv]:
    """Play each entry, so many at once."""
    with ThreadPoolExecutor(max(1, min(jobs, len(plays)))) as pool:
        locked = list(pool.map(_play, plays))
    failed += [error for _, error in locked if error]
    return {play.entry.name: env for play, (env, _) in zip(plays, locked, strict=True)}


def _play(play: Play) -> tuple[LockedEnv, str]:
    """The lock of one entry, and why it could not be played."""
    name, recipe = play.entry.name, play_digest(play.entry)
    print(f"{name}: playing it twice", file=sys.stderr, flush=True)
    try:
        found, why = parity_of(play.inside)
    except GymServiceError as error:
        no_hash = "it could not be played"
        return LockedEnv(recipe, play.venv, no_hash=no_hash), f"{name}: {no_hash}: {error}"
    return LockedEnv(recipe, play.venv, found, why), ""


def play_digest(entry: Entry) -> str:
    """A digest of what decides the play of an entry. The same on every machine."""
    spec = spec_of(entry)
    facts = {key: getattr(entry, key) for key in PLAY_KEYS} | {"venv": spec.digest if spec else None}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def parity_of(entry: Entry) -> tuple[str | None, str]:
    """The parity hash of an entry, or None and why there is none. Blocks for two plays; raises as ``gym.make``."""
    from gym_service.factory.open_env import open_env
    from gym_service.traces import deterministic_parity_hash

    def never() -> Any:
        raise AssertionError("a play makes no second env of its own")

    return hash_or_reason(lambda: deterministic_parity_hash(partial(open_env, entry, entry.kwargs, never)))


def hash_or_reason(play: Callable[[], str | None]) -> tuple[str | None, str]:
    """The parity hash that ``play`` returns, or None and why there is none. Raises GymServiceError."""
    from gym_service.traces import NoFixedActions, NotSeeded

    try:
        found = play()
    except NoFixedActions as error:
        return None, str(error)
    except NotSeeded as error:
        return None, f"no two plays can be compared: {error}"
    return found, "" if found else "two plays with the same seed differ"


def _write(path: Path, after: LockFile, has_failed: bool) -> int:
    print(f"{path}: {'written' if lock.write(path, after) else 'unchanged'}")
    for name, venv in sorted(after.venvs.items()):
        print(f"{name}: Python {venv.python}, {len(venv.packages)} packages")
    for name, env in sorted(after.envs.items()):
        print(f"{name}: {env.hash or f'no parity hash: {env.no_hash}'}")
    return int(has_failed)


def _compare(path: Path, before: LockFile, after: LockFile) -> int:
    """Say what is not as it is locked. Returns the exit code."""
    lines = []
    for name, venv in after.venvs.items():
        old = before.venv_for(venv.recipe)
        if old is None:
            lines.append(f"{name}: not locked as it stands in envs.toml")
            continue
        facts = {"Python": old.python}, {"Python": venv.python}
        versions = [{key: one.version for key, one in each.packages.items()} for each in (old, venv)]
        for package, (was, now) in (changes(*facts) | changes(*versions)).items():
            lines.append(f"{name}: {sync.difference(package, 'locked', was, now)}")
    for name, env in after.envs.items():
        old_env = before.envs.get(name)
        if old_env is None or old_env.recipe != env.recipe:
            lines.append(f"{name}: not locked as it stands in envs.toml")
        elif old_env.hash != env.hash:
            lines.append(f"{name}: its play is {env.hash or env.no_hash}; locked was {old_env.hash or old_env.no_hash}")
    for line in lines:
        print(line)
    print(f"{path}: {'differs' if lines else 'everything is as it is locked'}")
    return int(bool(lines))
