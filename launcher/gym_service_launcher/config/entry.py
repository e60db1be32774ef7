"""The keys of an env as a frozen Entry. The keys come from envs.toml or from Python keywords.

Knows the keys, their defaults and which of them exclude each other. Never knows where envs.toml is (``envs_file.py``),
whether an interpreter exists or whether a server answers: it starts no process. Python 3.10 and up.

Every mistake is a ConfigError. Its text names the file, the key path, the fault and a correct value.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from gym_service_launcher import spelling, user_dirs
from gym_service_launcher.config import addresses, validation
from gym_service_launcher.config.validation import Check, Location
from gym_service_launcher.config.venv_keys import (
    INTERPRETER_VENV_KEYS,
    VENV_CHECKS,
    VENV_KEYS,
    VenvKeys,
    refuse_useless,
)
from gym_service_launcher.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Timeouts:
    """How long each call may take, in seconds; ``math.inf`` means no limit."""

    start: float = 120.0
    reset: float = 120.0
    step: float = 60.0
    render: float = 60.0
    call: float = 60.0
    close: float = 5.0


@dataclass(frozen=True)
class Interpreter(VenvKeys):
    """One ``[interpreters.NAME]`` table: a Python, and what is installed into a venv of it."""

    python: str


@dataclass(frozen=True)
class Entry(VenvKeys):
    """How one env is made.

    ``name`` is the user's name of the env, ``id`` its id in the target. Exactly one of ``python``, ``command`` and
    ``address`` is set, or ``python`` together with ``command``.

    ``python`` is an absolute path, a version or ``conda:NAME``. ``activate``, ``cwd`` and ``pythonpath`` are absolute.
    In a remote entry (``is_remote``) all four stay as the user wrote them: they name files of the remote side.

    ``interpreter`` is the name of the table that ``python`` and the keys of the venv come from, if they come from one.
    ``keep_warm_s`` implies ``prefork``: the fork server is what is kept.
    ``max_episode_steps`` is None for the limit that the env is registered with, and -1 for no limit. ``api`` is None to
    try the registry of gymnasium first, then that of gym.
    """

    name: str
    file: Path | None = None
    python: str | None = None
    interpreter: str | None = None
    id: str = ""
    imports: tuple[str, ...] = ()
    argv: tuple[str, ...] = ("",)
    kwargs: dict[str, Any] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    activate: tuple[Path, ...] = ()
    environ: dict[str, str | Literal[False]] = field(default_factory=dict)
    cwd: Path | None = None
    pythonpath: tuple[Path, ...] = ()
    max_episode_steps: int | None = None
    wrappers: tuple[str | Callable[..., Any] | dict[str, Any], ...] = ()
    entry_point: str | None = None
    api: str | None = None
    address: str | None = None
    token_file: Path | None = None
    tls_ca: Path | None = None
    tls_sha256: str | None = None
    command: tuple[str, ...] = ()
    transport: str = "unix"
    timeouts: Timeouts = Timeouts()
    restart: str = "never"
    prefork: bool = False
    keep_warm_s: float | None = None
    workers: int | Literal["auto"] = 1
    frames: str = "raw"
    max_message_mib: int = 64
    arena_mib: int = 256
    output: str = "tail"
    arrays: str = "numpy"
    actions: str | None = None
    vectorized: bool = False
    num_envs_key: str = "num_envs"
    created_in: Path = field(default_factory=lambda: user_dirs.working() or Path("/"), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.name)

    @property
    def is_remote(self) -> bool:
        """Whether the interpreter is reached through a command."""
        return bool(self.command) or is_ssh(self.python)

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from: that of the file, else the working directory at creation."""
        return self.file.parent if self.file else self.created_in


@validation.accepts(
    {
        "type": "object",
        "properties": {limit.name: validation.schema_of(validation.seconds) for limit in fields(Timeouts)},
        "additionalProperties": False,
    }
)
def _timeouts(value: object, location: Location) -> Timeouts:
    limits = {limit.name: validation.seconds for limit in fields(Timeouts)}
    # In Python, None means no limit, as inf does in TOML.
    given = {
        name: math.inf if limit_s is None else limit_s for name, limit_s in validation.table(value, location).items()
    }
    return Timeouts(**validation.read(given, limits, location))


# The values of ``api`` that are PettingZoo's, for envs of several agents.
MULTI_AGENT_APIS = ("parallel", "aec")

INTERPRETER_KEYS: Mapping[str, Check] = MappingProxyType({"python": addresses.python, **VENV_CHECKS})

ENTRY_KEYS: Mapping[str, Check] = MappingProxyType(
    {
        "interpreter": validation.text,
        **INTERPRETER_KEYS,
        "id": validation.text,
        "imports": validation.string_list,
        "argv": validation.argv,
        "kwargs": validation.table,
        "setup": validation.list_of(validation.import_path, 'a list of "package.module:function"'),
        "activate": validation.scripts,
        "environ": validation.environ,
        "cwd": validation.path,
        "pythonpath": validation.paths,
        "max_episode_steps": validation.step_limit,
        "wrappers": validation.list_of(validation.wrapper, 'a list of "package.module:Wrapper"'),
        "entry_point": validation.import_path,
        "api": validation.one_of("gymnasium", "gym", "dm_env", "robosuite", *MULTI_AGENT_APIS),
        "address": addresses.address,
        "token_file": validation.path,
        "tls_ca": validation.path,
        "tls_sha256": addresses.fingerprint,
        "command": validation.string_list,
        "transport": validation.one_of("unix", "stdio"),
        "timeouts": _timeouts,
        "restart": validation.one_of("never", "on-reset"),
        "prefork": validation.boolean,
        "keep_warm_s": validation.duration,
        "workers": validation.worker_count,
        "frames": validation.frames,
        "max_message_mib": validation.message_size,
        "arena_mib": validation.shared_memory_size,
        "arrays": validation.one_of("numpy", "torch", "jax"),
        "actions": validation.array_framework,
        "vectorized": validation.boolean,
        "num_envs_key": validation.text,
        "output": validation.one_of("tail", "show"),
    }
)

# The keys of a remote entry. These four name files of the remote side, so they are not made absolute here.
REMOTE_KEYS: Mapping[str, Check] = MappingProxyType(
    {
        **ENTRY_KEYS,
        "python": addresses.remote_python,
        "activate": addresses.remote_scripts,
        "cwd": addresses.remote_path,
        "pythonpath": addresses.remote_paths,
    }
)

# Keys about starting a server. An entry with an address starts none.
START_KEYS = (
    *("python", *VENV_KEYS, "command", "transport", "activate", "environ", "cwd", "pythonpath", "output", "prefork"),
    "keep_warm_s",
)

# Keys that authenticate the two ends of an address.
CREDENTIAL_KEYS = ("token_file", "tls_ca", "tls_sha256")

WHY_NO_CREDENTIAL: Mapping[str, str] = MappingProxyType(
    {
        "token_file": "only a server on TCP asks for a token",
        "tls_ca": "only TCP uses TLS",
        "tls_sha256": "only TCP uses TLS",
    }
)

# A key, the keys that it excludes, and the reason.
MUTUALLY_EXCLUSIVE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("interpreter", ("python", *INTERPRETER_VENV_KEYS), "set it in the [interpreters.NAME] table"),
    ("entry_point", ("id",), "each of them names the env to make"),
    ("command", ("interpreter",), "it names an interpreter of this machine; set python to the remote one"),
    ("address", ("interpreter", *START_KEYS), "the server at an address is already running"),
)

# The keys of the base entry that a key given in Python resets, because they answer the same question. For example, a
# new python does not keep the requirements of the old one.
OVERRIDES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "python": ("interpreter", *INTERPRETER_VENV_KEYS, "address", *CREDENTIAL_KEYS),
        "address": ("interpreter", *START_KEYS, *CREDENTIAL_KEYS),
        # Paths and interpreters of this machine mean nothing on the remote side.
        "command": (
            *("python", "interpreter", *INTERPRETER_VENV_KEYS, "address", *CREDENTIAL_KEYS),
            *("activate", "cwd", "pythonpath", "transport"),
        ),
        "id": ("entry_point",),
        "entry_point": ("id",),
        **dict.fromkeys(INTERPRETER_VENV_KEYS, ("interpreter",)),
    }
)


def entry(
    name: str,
    table: Mapping[str, Any],
    *,
    file: Path | None = None,
    base: Entry | None = None,
    interpreters: Mapping[str, Interpreter | ConfigError] = MappingProxyType({}),
) -> Entry:
    """Build an entry from its keys. The keys replace those of ``base``, without merging tables.

    Args:
        name: the user's name of the env. It is also the ``id`` unless the table sets one.
        table: the keys of an ``[envs."…"]`` table. A value of None counts as not given.
        file: the envs.toml that holds the table; None if the keys are given in Python.
        base: the entry to start from. A key also resets the keys of ``base`` that OVERRIDES lists for it.
        interpreters: what ``interpreter`` may name (``envs_file.EnvsFile.interpreters``).

    Raises:
        ConfigError: the table has a mistake, or the entry has no interpreter and no address.
    """
    blank = Entry(name, base.file if base else file)
    location = Location(file, base.folder if base else blank.folder, f"given in Python for {json.dumps(name)}")
    if file:
        location = location.at("envs").at(name, quoted=True)
    table = validation.table(table, location)
    is_remote = _will_be_remote(table, base, interpreters)
    given = validation.read(
        table, REMOTE_KEYS if is_remote else ENTRY_KEYS, location, "arguments of the simulator belong in kwargs"
    )
    _refuse_exclusive(given, base, location)
    if "interpreter" in given:
        chosen = _interpreter(given["interpreter"], interpreters, location.at("interpreter"))
        given = {"python": chosen.python, **{key: getattr(chosen, key) for key in VENV_KEYS}} | given
    made = replace(
        base or blank, **{key: getattr(blank, key) for key in _overridden_keys(given, base, is_remote)} | given
    )
    _refuse_incomplete(made, given, location)
    return replace(made, prefork=True) if made.keep_warm_s else made


def _refuse_incomplete(made: Entry, given: Mapping[str, Any], location: Location) -> None:
    """Raise if an entry says too little, or has keys that do not work together."""
    if made.is_remote:
        _refuse_beside_remote(made, given, location)
    if not (made.python or made.address or made.command):
        raise location.error('no interpreter; set python = "./sim_env" (a venv), "3.10" or "conda:NAME"')
    refuse_useless(made, location)
    if made.prefork and made.command:
        raise location.at("prefork").error("cannot be combined with command: a command cannot fork its server")
    _refuse_beside_warm(made, given, location)
    for key in CREDENTIAL_KEYS:
        if getattr(made, key) and not (made.address and made.address.startswith("tcp://")):
            raise location.at(key).error(f'needs address = "tcp://…": {WHY_NO_CREDENTIAL[key]}')


def _refuse_beside_warm(made: Entry, given: Mapping[str, Any], location: Location) -> None:
    """Raise if an entry asks for a fork server that is kept and cannot have one."""
    if made.keep_warm_s and given.get("prefork") is False:
        raise location.at("keep_warm_s").error(
            "cannot be combined with prefork = false: it keeps a fork server\n  try: one of the two"
        )
    if made.keep_warm_s and made.is_remote:
        raise location.at("keep_warm_s").error(
            "keeps a process of this machine; the interpreter is a remote one\n  try: without it"
        )


def is_ssh(python: str | None) -> bool:
    """Whether ``python`` is an ssh:// address, which is short for a command."""
    return python is not None and python.startswith("ssh:")


def _will_be_remote(
    table: Mapping[str, Any], base: Entry | None, interpreters: Mapping[str, Interpreter | ConfigError]
) -> bool:
    """Whether the paths in a table name files of the remote side. Called before any value is checked."""
    given = {key for key, value in table.items() if value is not None}
    if "command" in given or "address" in given:
        return bool(table.get("command"))
    if "interpreter" in given:
        chosen = interpreters.get(str(table["interpreter"]))
        return isinstance(chosen, Interpreter) and is_ssh(chosen.python)
    if "python" in given and is_ssh(str(table["python"])):
        return True
    return bool(base and (base.command or (base.is_remote and "python" not in given)))


def _overridden_keys(given: Mapping[str, Any], base: Entry | None, is_remote: bool) -> set[str]:
    """The keys of the base entry that the given keys reset."""
    overridden = {other for key in given if given[key] != () for other in OVERRIDES.get(key, ())}
    if is_ssh(given.get("python")):
        overridden.add("command")
    if base and is_remote != base.is_remote:  # the paths of the base entry name files of the other side
        overridden |= {"python", "command", "activate", "cwd", "pythonpath"}
    if given.get("prefork") is False:
        overridden.add("keep_warm_s")
    return overridden


def _refuse_beside_remote(made: Entry, given: Mapping[str, Any], location: Location) -> None:
    """Raise if a remote entry has a key that only works on this machine."""
    if made.command and is_ssh(made.python):
        raise location.at("python").error("an ssh:// address cannot be combined with command: it is short for one")
    if given.get("transport") == "unix":
        raise location.at("transport").error('"unix" needs both sides on one machine; a command uses "stdio"')


def _interpreter(name: str, interpreters: Mapping[str, Interpreter | ConfigError], location: Location) -> Interpreter:
    if name not in interpreters:
        near = spelling.suggestion(name, interpreters) or "expected the NAME of an [interpreters.NAME] table"
        raise location.error(f"there is no interpreter {json.dumps(name, ensure_ascii=False)}; {near}")
    chosen = interpreters[name]
    if isinstance(chosen, ConfigError):
        raise chosen
    return chosen


def _refuse_exclusive(given: Mapping[str, Any], base: Entry | None, location: Location) -> None:
    present = {key for key in given if key != "command" or given[key]}
    if base and base.address and present.isdisjoint({"python", "interpreter", "command"}):
        present.add("address")
    for key, others, why in MUTUALLY_EXCLUSIVE:
        clash = next((other for other in others if key in present and other in present), None)
        if clash:
            raise location.at(clash).error(f"cannot be combined with {key}: {why}")
