"""Which programs share a warm fork server: those whose keys are equal.

Knows what decides the image of a fork server, and what else its servers inherit from it. Never knows how it is started.
Python 3.10 and up, Linux.

A server that is forked has the process attributes of the fork server, which has those of the program that ordered it.
So all that a server inherits is in the key, and a server is as if its own client had started it. Only the variables of
a terminal are not in it: they are set in each server.
"""

import hashlib
import json
import os
import resource
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gym_service_launcher import user_dirs
from gym_service_launcher.processes.forkservers import Plan
from gym_service_launcher.standalone import interrupts, spawning, warm_forks

# Of /proc/thread-self/status: users and groups, umask, what a sandbox forbids, processors and memory nodes.
STATUS_FIELDS = (
    *("Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Cpus_allowed", "Mems_allowed"),
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
)
# The actions for these signals are set in each server, whatever its program has.
SET_SIGNALS = (*spawning.IGNORED, "SIGCHLD")
DIGITS = 24


def socket_path(plan: Plan) -> Path:
    """The path of the socket of a plan's warm fork server, in the runtime folder."""
    text = json.dumps([_decisions(plan), _attributes()], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]
    return user_dirs.runtime_dir() / f"warm-{digest}.sock"


def terminal_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Those that say in which terminal or session a program runs."""
    return {name: value for name, value in variables.items() if warm_forks.is_of_terminal(name)}


def _decisions(plan: Plan) -> list[Any]:
    """What decides the image: our program, the interpreter, the recipe, the environment, the working directory."""
    ours = sorted(Path(warm_forks.__file__).parent.glob("*.py"))
    variables = [item for item in plan.env if not warm_forks.is_of_terminal(item[0])]
    files = _stamps([*ours, plan.server_program, *plan.files])
    return [plan.command, str(plan.server_program), plan.recipe, variables, str(plan.cwd), _stamps([plan.cwd]), files]


def _stamps(paths: Iterable[Path]) -> list[Any]:
    found: list[Any] = []
    for path in paths:
        try:
            state = os.stat(path)
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            found.append([str(path), None])
            continue
        content = [] if path.is_dir() else [state.st_size, state.st_mtime_ns]
        found.append([str(path), state.st_dev, state.st_ino, *content])
    return found


def _attributes() -> list[Any]:
    """What a process inherits from the one that starts it."""
    status = dict(line.split(":", 1) for line in _text("thread-self/status").splitlines() if ":" in line)
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    root = os.stat("/")
    return [
        {name: status.get(name, "").strip() for name in STATUS_FIELDS},
        _ignored_signals(status.get("SigIgn", "")),
        {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        {name: _link(f"self/ns/{name}") for name in sorted(os.listdir("/proc/self/ns"))},
        [_text(name) for name in ("self/personality", "self/oom_score_adj", "self/attr/current")],
        # The runtime folder may be on a disk that several machines share.
        _text("sys/kernel/random/boot_id"),
        [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), root.st_dev, root.st_ino],
    ]


def _ignored_signals(mask: str) -> list[int]:
    """The signals of a mask of /proc that a program and its descendants ignore.

    Those that the C library keeps for itself (32 and 33) do not count: posix_spawn leaves them ignored.
    """
    bits = int(mask or "0", 16)
    counted = signal.valid_signals() - {getattr(signal, name) for name in SET_SIGNALS}
    return sorted(int(number) for number in counted if bits >> (number - 1) & 1)


def _text(name: str) -> str:
    try:
        return Path("/proc", name).read_text()
    except OSError as error:  # not in this kernel, or not for this user
        interrupts.raise_if_from_handler(error)
        return ""


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/{name}")
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        return ""
