"""The keys of an env, in envs.toml or given in Python, as a frozen entry.

Knows the keys, their defaults and which of them exclude each other. Never knows where a file lies (``envs_file.py``),
nor whether an interpreter exists or a server answers: it runs nothing. Python 3.10 and up.

Every mistake is a ConfigError that names file, key path, what is wrong and what would be right.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from gym_service_launcher import spelling, user_dirs
from gym_service_launcher.config import validation
from gym_service_launcher.config.validation import Check, Location
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
class Interpreter:
    """One ``[interpreters.NAME]`` table: which Python, and what uv installs into a venv of it."""

    python: str
    requires: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Entry:
    """How one env is made. Paths are absolute; ``python`` is one, or a version, or ``conda:NAME``.

    ``name`` is the user's, ``id`` the one in the target. One of ``python``, ``command`` and ``address`` is set, or the
    first two. Of an entry that is elsewhere (``is_remote``), ``python``, ``cwd`` and ``pythonpath`` are what the user
    wrote: they mean that place's.
    ``requires`` is None where the interpreter is used as it is. ``max_episode_steps`` of None means
    what the env was registered with, -1 no limit. ``api`` of None means gymnasium's registry first.
    """

    name: str
    file: Path | None = None
    python: str | None = None
    requires: tuple[str, ...] | None = None
    id: str = ""
    imports: tuple[str, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    pythonpath: tuple[Path, ...] = ()
    max_episode_steps: int | None = None
    wrappers: tuple[str | Callable[..., Any], ...] = ()
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
    workers: int = 1
    frames: str = "raw"
    output: str = "tail"
    created_in: Path = field(default_factory=lambda: user_dirs.working() or Path("/"), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.name)

    @property
    def is_remote(self) -> bool:
        """Whether its interpreter is reached through a command."""
        return bool(self.command) or is_ssh(self.python)

    @property
    def folder(self) -> Path:
        """What relative paths are relative to: the file's folder, else where the entry was made."""
        return self.file.parent if self.file else self.created_in


def _timeouts(value: object, location: Location) -> Timeouts:
    limits = {limit.name: validation.seconds for limit in fields(Timeouts)}
    # In Python None is the natural word for no limit, as inf is in TOML.
    given = {
        name: math.inf if limit_s is None else limit_s for name, limit_s in validation.table(value, location).items()
    }
    return Timeouts(**validation.read(given, limits, location))


INTERPRETER_KEYS: Mapping[str, Check] = MappingProxyType(
    {"python": validation.python, "requires": validation.string_list}
)

ENTRY_KEYS: Mapping[str, Check] = MappingProxyType(
    {
        "interpreter": validation.text,
        **INTERPRETER_KEYS,
        "id": validation.text,
        "imports": validation.string_list,
        "kwargs": validation.table,
        "environ": validation.environ,
        "cwd": validation.path,
        "pythonpath": validation.paths,
        "max_episode_steps": validation.step_limit,
        "wrappers": validation.list_of(validation.wrapper, 'a list of "package.module:Wrapper"'),
        "entry_point": validation.import_path,
        "api": validation.one_of("gymnasium", "gym"),
        "address": validation.address,
        "token_file": validation.path,
        "tls_ca": validation.path,
        "tls_sha256": validation.fingerprint,
        "command": validation.string_list,
        "transport": validation.one_of("unix", "stdio"),
        "timeouts": _timeouts,
        "restart": validation.one_of("never", "on-reset"),
        "prefork": validation.boolean,
        "workers": validation.worker_count,
        "frames": validation.frames,
        "output": validation.one_of("tail", "show"),
    }
)

# What these say is of the place that a command leads to.
REMOTE_KEYS: Mapping[str, Check] = MappingProxyType(
    {
        **ENTRY_KEYS,
        "python": validation.remote_python,
        "cwd": validation.remote_path,
        "pythonpath": validation.remote_paths,
    }
)

# What concerns the start of a server, which an address leaves to somebody else.
START_KEYS = ("python", "requires", "command", "transport", "environ", "cwd", "pythonpath", "output", "prefork")

# By what the two ends of an address know each other.
CREDENTIAL_KEYS = ("token_file", "tls_ca", "tls_sha256")

WHY_NO_CREDENTIAL: Mapping[str, str] = MappingProxyType(
    {
        "token_file": "only its server asks for a token",
        "tls_ca": "only over TCP there is TLS",
        "tls_sha256": "only over TCP there is TLS",
    }
)

# A key, those that cannot stand beside it, and why.
MUTUALLY_EXCLUSIVE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("interpreter", ("python", "requires"), "these stand in its own table"),
    ("entry_point", ("id",), "each of them alone says which env is made"),
    ("command", ("interpreter",), "it is one of this machine; say python = …, the one over there"),
    ("address", ("interpreter", *START_KEYS), "the server at an address is already running"),
)

# What a key given in Python takes away from the entry below it: the parts of another answer to the
# same question. A new python does not bring the old one's venv along.
OVERRIDES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "python": ("requires", "address", *CREDENTIAL_KEYS),
        "address": (*START_KEYS, *CREDENTIAL_KEYS),
        # To another machine, where what this one has means nothing.
        "command": ("python", "requires", "address", *CREDENTIAL_KEYS, "cwd", "pythonpath", "transport"),
        "id": ("entry_point",),
        "entry_point": ("id",),
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
    """One entry out of its keys, laid shallowly over ``base``.

    Args:
        name: the user's name of the env, and its ``id`` unless the table says otherwise.
        table: the keys of an ``[envs."…"]`` table. None means: not said here.
        file: the envs.toml that the table stands in; None when it is given in Python.
        base: the entry to start from. What a new key takes away from it
            stands in OVERRIDES.
        interpreters: what ``interpreter`` may name (``envs_file.EnvsFile.interpreters``).

    Raises:
        ConfigError: any mistake in the table; no interpreter and no address.
    """
    blank = Entry(name, base.file if base else file)
    location = Location(file, base.folder if base else blank.folder, f"given in Python for {json.dumps(name)}")
    if file:
        location = location.at("envs").at(name, quoted=True)
    table = validation.table(table, location)
    is_remote = _will_be_remote(table, base, interpreters)
    given = validation.read(
        table, REMOTE_KEYS if is_remote else ENTRY_KEYS, location, "what the simulator takes stands in kwargs"
    )
    _refuse_exclusive(given, base, location)
    if "interpreter" in given:
        chosen = _interpreter(given.pop("interpreter"), interpreters, location.at("interpreter"))
        given |= {"python": chosen.python, "requires": chosen.requires}
    made = replace(
        base or blank, **{key: getattr(blank, key) for key in _overridden_keys(given, base, is_remote)} | given
    )
    if made.is_remote:
        _refuse_beside_remote(made, given, location)
    if not (made.python or made.address or made.command):
        raise location.error('no interpreter; say python = "./sim_env" (a venv), "3.10" or "conda:NAME"')
    if made.prefork and made.command:
        raise location.at("prefork").error(
            "cannot stand beside command: what that starts is not this machine's to fork"
        )
    for key in CREDENTIAL_KEYS:
        if getattr(made, key) and not (made.address and made.address.startswith("tcp://")):
            raise location.at(key).error(f'cannot stand without address = "tcp://…": {WHY_NO_CREDENTIAL[key]}')
    return made


def is_ssh(python: str | None) -> bool:
    """Whether an interpreter is named by the short form of a command."""
    return python is not None and python.startswith("ssh:")


def _will_be_remote(
    table: Mapping[str, Any], base: Entry | None, interpreters: Mapping[str, Interpreter | ConfigError]
) -> bool:
    """Whether the paths in a table are those of another place; looked at before any of its values is checked."""
    said = {key for key, value in table.items() if value is not None}
    if "command" in said or "address" in said:
        return bool(table.get("command"))
    if "interpreter" in said:
        chosen = interpreters.get(str(table["interpreter"]))
        return isinstance(chosen, Interpreter) and is_ssh(chosen.python)
    if "python" in said and is_ssh(str(table["python"])):
        return True
    return bool(base and (base.command or (base.is_remote and "python" not in said)))


def _overridden_keys(given: Mapping[str, Any], base: Entry | None, is_remote: bool) -> set[str]:
    """The keys of the entry below that these take away."""
    gone = {key for said in given if given[said] != () for key in OVERRIDES.get(said, ())}
    if is_ssh(given.get("python")):
        gone.add("command")
    if base and is_remote != base.is_remote:  # its paths were meant for the other side
        gone |= {"python", "command", "cwd", "pythonpath"}
    return gone


def _refuse_beside_remote(made: Entry, given: Mapping[str, Any], location: Location) -> None:
    """What cannot stand in an entry whose interpreter is elsewhere."""
    if made.command and is_ssh(made.python):
        raise location.at("python").error("an ssh:// address cannot stand beside command: it is short for one")
    if made.requires is not None:
        raise location.at("requires").error("nothing is built at the other end of a command; name what is there")
    if given.get("transport") == "unix":
        raise location.at("transport").error('"unix" needs both sides on one machine; a command has "stdio"')


def _interpreter(name: str, interpreters: Mapping[str, Interpreter | ConfigError], location: Location) -> Interpreter:
    if name not in interpreters:
        near = spelling.suggestion(name, interpreters) or "it is the NAME of an [interpreters.NAME] table"
        raise location.error(f"there is no interpreter {json.dumps(name, ensure_ascii=False)}; {near}")
    chosen = interpreters[name]
    if isinstance(chosen, ConfigError):
        raise chosen
    return chosen


def _refuse_exclusive(given: Mapping[str, Any], base: Entry | None, location: Location) -> None:
    said = {key for key in given if key != "command" or given[key]}
    if base and base.address and said.isdisjoint({"python", "interpreter", "command"}):
        said.add("address")
    for key, others, why in MUTUALLY_EXCLUSIVE:
        clash = next((other for other in others if key in said and other in said), None)
        if clash:
            raise location.at(clash).error(f"cannot stand beside {key}: {why}")
