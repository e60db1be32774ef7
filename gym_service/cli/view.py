"""``gym-service view``: a web page that shows what the simulators of this user do.

Knows the arguments of the command, and which servers and entries they name. Never knows how the page is served. Python
3.10 and up.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gym_service_launcher.errors import ConfigError, GymServiceError

from gym_service.cli.help_format import HelpFormatter
from gym_service.cli.policies import frames_per_second, imported_policy, policy_of, reset_of_episode

if TYPE_CHECKING:
    from gym_service_launcher.processes.pidfiles import ServerInfo

    from gym_service.viewer.app import Viewer
    from gym_service.viewer.player import PlayedEnv

ABOUT = "show your running envs, or an entry, on a web page"
EPILOG = """\
Prints the address of a page on this machine, and opens it in a browser. The
page shows every env of yours that runs on this machine: pictures, steps per
second, the return of each episode, the last info, and the output. The programs
that use these envs need no change and take no part. The values that they get
stay the same, bit for bit.

An env has pictures if it was made with render_mode="rgb_array", "depth_array",
"rgbd_tuple" or "ansi". The page says so where the argument is missing.

WHICH narrows the list: the pid of a server, the address of a gym-service run
on this machine, or the name of a running env. The name of an entry of envs.toml
plays the entry instead, with --policy, while somebody looks. A policy
"module:function" is imported from this folder and called with each observation;
it returns the action.

The address has a token: who has the address can see the page. From another
machine, forward the port:
  ssh -L 8765:127.0.0.1:8765 HOST gym-service view --port 8765 --no-browser

examples:
  gym-service view
  gym-service view --fps 5 --port 8765 --no-browser
  gym-service view PushT-v0 --policy zero
  gym-service view unix:///run/user/1000/gym-service/sim_env-1a2b3c4d.sock
"""
DEFAULT_FPS, DEFAULT_GRID, MAX_GRID = 10.0, 9, 64
EXIT_INTERRUPTED = 130


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of ``gym-service``."""
    description = f"{ABOUT[0].upper()}{ABOUT[1:]}."
    parser = commands.add_parser(
        "view", help=ABOUT, description=description, epilog=EPILOG, formatter_class=HelpFormatter
    )
    parser.add_argument("which", nargs="?", metavar="WHICH", help="an entry of envs.toml, a pid, an address or a name")
    parser.add_argument("--policy", metavar="P", help="of an entry: random (default), zero or module:function")
    parser.add_argument("--seed", type=int, metavar="S", help="of an entry: of the first reset and of the policy")
    fps = "pictures a second at most (default: 10)"
    parser.add_argument("--fps", type=frames_per_second, default=DEFAULT_FPS, metavar="F", help=fps)
    parser.add_argument(
        "--grid", type=_grid, default=DEFAULT_GRID, metavar="N", help="how many envs of a vector env (default: 9)"
    )
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="of the page (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--envs", type=Path, metavar="FILE", help="an envs.toml (default: the one that gym.make uses)")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command; return the exit code. Blocks until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the options cannot be used together.
        GymServiceError: there is no such entry or server, the extra ``view`` is not installed, or the port is taken.
    """
    if sys.platform != "linux":
        raise GymServiceError("gym-service view needs Linux: it finds servers and their ends through /proc")
    if arguments.envs:
        os.environ["GYM_SERVICE_ENVS"] = str(arguments.envs.absolute())
    _require_extra()
    import asyncio

    from gym_service.viewer.app import Viewer
    from gym_service.viewer.watched import ServerList

    played, only = _chosen(arguments)
    servers = ServerList(without_client=os.getpid(), only=only)
    viewer = Viewer(servers, played, fps=arguments.fps, count=arguments.grid)
    return asyncio.run(_serve(viewer, arguments.port, partial(_announce, browser=not arguments.no_browser)))


def _require_extra() -> None:
    try:
        from gym_service.viewer import app, pictures  # noqa: F401
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("aiohttp", "PIL"):
            raise
        text = f'gym-service view needs aiohttp and Pillow: {error}\n  try: pip install "gym-service[view]"'
        raise GymServiceError(text) from error


async def _serve(viewer: "Viewer", port: int, announce: Callable[[str], None]) -> int:
    import asyncio

    from gym_service.viewer.app import serve

    ended, codes = asyncio.Event(), [0]

    def end(code: int) -> None:
        codes[0] = code
        ended.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, end, EXIT_INTERRUPTED)
    loop.add_signal_handler(signal.SIGTERM, end, 0)
    try:
        await serve(viewer, port, announce, ended)
    except OSError as error:
        text = f"the page cannot be served at port {port}: {error.strerror or error}"
        raise GymServiceError(f"{text}\n  try: --port 0, a free one") from error
    return codes[0]


def _announce(address: str, *, browser: bool) -> None:
    print(address, flush=True)
    print("Ctrl-C ends the page. The envs that it shows go on.", file=sys.stderr)
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if browser and has_display:  # without a display, webbrowser would start one in this terminal
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _chosen(arguments: argparse.Namespace) -> "tuple[PlayedEnv | None, Callable[[ServerInfo], bool] | None]":
    """The entry to play, or the condition for the servers to show."""
    which = arguments.which
    if which and _is_entry(which):
        return _played(arguments), None
    if arguments.policy or arguments.seed is not None:
        option = "--policy" if arguments.policy else "--seed"
        raise ConfigError(f"{option} is for an entry of envs.toml, which this command plays", file=None, key="policy")
    return None, _condition(which) if which else None


def _is_entry(name: str) -> bool:
    """Whether envs.toml has it. Raises ConfigError if the file or the entry is broken."""
    from gym_service_launcher.config import envs_file

    path = envs_file.find()
    entry = None if path is None else envs_file.load(path).entries.get(name)
    if isinstance(entry, ConfigError):
        raise entry
    return entry is not None


def _condition(which: str) -> "Callable[[ServerInfo], bool]":
    """Whether a server is meant. Raises GymServiceError if none is, now."""
    from gym_service_launcher.processes import pidfiles

    running = pidfiles.list_servers()
    for server in running:
        if server.is_listener and which in (server.name, server.name.removeprefix("unix://"), str(server.pid)):
            pid = server.pid
            return lambda other: other.client_pid == pid
    if any(which in (server.name, str(server.pid)) for server in running):
        return lambda other: which in (other.name, str(other.pid))
    names = ", ".join(sorted({server.name for server in running})) or "none"
    text = f"{which!r} is neither an entry of envs.toml nor one of your running servers on this machine: {names}"
    raise GymServiceError(f"{text}\n  try: gym-service list, gym-service ps; or on its own machine, gym-service view")


def _played(arguments: argparse.Namespace) -> "PlayedEnv":
    from gym_service.viewer.player import PlayedEnv

    name = arguments.policy or "random"
    imported_policy(name)  # a name that leads nowhere is refused now, not when somebody looks
    policy = lambda env: policy_of(name, env, arguments.seed or 0)  # noqa: E731
    reset = lambda env, episode: reset_of_episode(env, arguments.seed, episode)  # noqa: E731
    return PlayedEnv(arguments.which, partial(_make, arguments.which), policy, reset, fps=arguments.fps)


def _make(name: str) -> Any:
    """The env, with pictures if it has any."""
    from gym_service.errors import EnvError
    from gym_service.factory.make import make

    try:
        return make(name, render_mode="rgb_array")
    except EnvError:
        return make(name)


def _grid(text: str) -> int:
    if text.isdecimal() and 0 < int(text) <= MAX_GRID:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MAX_GRID}")


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
