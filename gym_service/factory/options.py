"""The keys of an entry, typed and documented, as keywords of ``make``, ``make_vec`` and ``service=``.

Knows the keys and the types of their values. Never knows how a value is checked (``gym_service_launcher.config``).
Client only; Python 3.10 and up. Only type checkers and users import this module.

``tests/client/test_options.py`` holds both classes equal to the keys that the launcher accepts.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict

StrPath: TypeAlias = str | os.PathLike[str]
# Not Sequence[str]: a string is one too, and is refused.
Strings: TypeAlias = list[str] | tuple[str, ...]
Paths: TypeAlias = list[str] | list[os.PathLike[str]] | list[StrPath] | tuple[StrPath, ...]
Wrapper: TypeAlias = str | Callable[..., Any] | Mapping[str, Any]
Wrappers: TypeAlias = list[str] | list[Callable[..., Any]] | list[Wrapper] | tuple[Wrapper, ...]


class TimeoutOptions(TypedDict, total=False):
    """How long each call may take, in seconds. ``math.inf`` and None mean no limit."""

    start: float | None
    """Start of the server: its imports and the making of the env, without the building of a venv. Default 120."""
    reset: float | None
    """One ``reset()``. Default 120."""
    step: float | None
    """One ``step()``. Default 60."""
    render: float | None
    """One ``render()``. Default 60."""
    call: float | None
    """Each other call, and the reading or setting of an attribute. Default 60."""
    close: float | None
    """One ``close()``; after it the server is terminated. Default 5."""


class EntryOptions(TypedDict, total=False):
    """The keys of one ``[envs."…"]`` table of envs.toml. All are optional; None counts as not given.

    ``python``, ``command`` or ``address`` says where the simulator is. docs/configuration.md explains each key.
    """

    interpreter: str | None
    """The name of an ``[interpreters.NAME]`` table of envs.toml, instead of ``python`` and the keys of its venv."""
    python: StrPath | None
    """The simulator's interpreter: a venv folder, an executable, a version (``"3.10"``), ``"conda:NAME"`` or
    ``"ssh://user@host/path/to/venv"``."""
    requires: Strings | None
    """Requirements as pip takes them. A venv of ``python`` is built with them, once."""
    requirements: StrPath | None
    """A requirements file. A venv of ``python`` is built with it, once."""
    project: StrPath | None
    """The folder of a Python project, perhaps with extras (``"./repo[sim]"``). It is installed editable."""
    constraints: StrPath | Strings | None
    """A constraints file, or constraints: versions for what is installed, without installing it."""
    build_requires: Strings | None
    """Requirements that are installed first, for packages that cannot be built without them."""
    system_packages: Strings | None
    """Debian or Ubuntu packages. ``gym-service sync`` says which are missing; it installs none."""
    post: list[list[str]] | tuple[Strings, ...] | None
    """Commands to run in the venv after everything is installed, such as ``[["python", "-m", "x.download"]]``."""
    auto_sync: bool | None
    """False: a venv that is missing is an error, and is built by ``gym-service sync`` alone. Default True."""
    id: str | None
    """The id of the env in the simulator's interpreter. Default: the name of the entry."""
    imports: Strings | None
    """Modules to import first in the simulator's interpreter: most simulators register their ids on import."""
    argv: Strings | None
    """The simulator's ``sys.argv``, the name of the program first. Default ``[""]``."""
    kwargs: Mapping[str, Any] | None
    """Keyword arguments of the env. They reach the simulator whatever their names are. ``{"object":
    "package.module:attribute"}`` is an object of the simulator, ``"{index}"`` the number of the env."""
    setup: Strings | None
    """Functions to call after the imports, once in each server: ``["package.module:function"]``."""
    activate: StrPath | Paths | None
    """Scripts that a shell sources before the simulator's interpreter starts, such as ``"setup.sh"``."""
    environ: Mapping[str, str | Literal[False]] | None
    """Environment variables of the simulator. ``$NAME`` and ``~`` are expanded, ``$$`` is a dollar, False unsets."""
    cwd: StrPath | None
    """The simulator's working directory. Default: that of the client."""
    pythonpath: Paths | None
    """Folders that the simulator can import from, in addition to its site-packages."""
    max_episode_steps: int | None
    """The time limit in steps, applied in the simulator; -1 for none. Default: the registered one."""
    wrappers: Wrappers | None
    """Wrappers to apply in the simulator, the innermost first: ``"package.module:Wrapper"``, a callable, or
    ``{"wrapper": …, "kwargs": {…}}``."""
    entry_point: str | None
    """``"package.module:callable"`` that makes the env, instead of ``id``."""
    api: Literal["gymnasium", "gym", "dm_env", "robosuite", "parallel", "aec"] | None
    """The API of the simulator's env; for an ``id``, the package whose registry is asked. Default: what the env has.
    ``"parallel"`` and ``"aec"`` are PettingZoo's, for ``make_parallel`` and ``make_aec``."""
    address: str | None
    """``"tcp://host:port"`` or ``"unix:///path"`` of a running ``gym-service run``."""
    token_file: StrPath | None
    """With ``address = "tcp://…"``: the file with the token of that server."""
    tls_ca: StrPath | None
    """With ``address = "tcp://…"``: use TLS, and accept a certificate for that host signed by one in this file."""
    tls_sha256: str | None
    """With ``address = "tcp://…"``: use TLS, and accept only the certificate with this SHA-256."""
    command: Strings | None
    """A command to put before a remote interpreter, such as ``["docker", "run", "-i", "--rm", "IMAGE"]``."""
    transport: Literal["unix", "stdio"] | None
    """``"unix"`` (default): an inherited socket. ``"stdio"``: standard input and output."""
    timeouts: TimeoutOptions | None
    """How long each call may take, in seconds."""
    restart: Literal["never", "on-reset"] | None
    """``"on-reset"``: after a crash or a timeout the next ``reset()`` starts a new server. Default ``"never"``."""
    prefork: bool | None
    """Import the simulator once and fork the servers from that process. Default False."""
    keep_warm_s: float | None
    """Keep that process for so many seconds after its last use, for the next program. Implies ``prefork``."""
    workers: int | Literal["auto"] | None
    """The number of server processes of a vector env; ``"auto"`` measures two envs and chooses. Default 1."""
    frames: str | None
    """The coding of images where no memory is shared: ``"raw"`` (default), ``"zlib"``, ``"auto"``, ``"jpeg:90"``."""
    max_message_mib: int | None
    """How large one answer or one call may be, in MiB, beside the declared spaces. Default 64."""
    arena_mib: int | None
    """How much memory each server may share with this process, in MiB. 0: none. Default 256."""
    arrays: Literal["numpy", "torch", "jax"] | None
    """What arrays of torch, jax and other frameworks become here. Default ``"numpy"``."""
    actions: str | None
    """What the simulator gets as actions: ``"numpy"``, ``"torch"``, ``"torch:cuda:0"`` or ``"jax"``. Default: arrays of
    the framework and on the device of its observations."""
    vectorized: bool | None
    """True: the simulator makes a vector env itself, and ``gym.make_vec`` tells it how many envs. Default False."""
    num_envs_key: str | None
    """With ``vectorized``: the simulator's keyword for the number of envs. Default ``"num_envs"``."""
    output: Literal["tail", "show"] | None
    """``"tail"`` (default): keep the end of the simulator's output for errors. ``"show"``: also print it."""
