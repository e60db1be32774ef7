"""``gym-service replay``: plays a trace again and names the first difference, or exports it.

Knows the arguments of the command and what it prints. Never knows how a trace is read or played. Python 3.10 and up.

Exit codes: 0 where everything is the same; 1 where something differs; 2 for an error.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gym_service_launcher.errors import ConfigError

from gym_service.cli.help_format import HelpFormatter
from gym_service.cli.progress import counted

if TYPE_CHECKING:
    from gym_service.traces.comparison import Replayed

ABOUT = "play a trace again and name the first difference"
EPILOG = """\
FILE is a trace of gym_service.record_trace or of gym-service record. It names
the entry it was recorded from; --against names another one, such as a newer
version of the simulator or the same one on another host. The calls of the trace
are made on a fresh env and everything that comes back is compared, in value and
in type. Your envs.toml alone says which interpreter runs and what it imports.

examples:
  gym-service replay run.trace
  gym-service replay run.trace --in-process
  gym-service replay run.trace --against PushT-next
  gym-service replay run.trace --to minari
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of ``gym-service``."""
    description = f"{ABOUT[0].upper()}{ABOUT[1:]}."
    parser = commands.add_parser(
        "replay", help=ABOUT, description=description, epilog=EPILOG, formatter_class=HelpFormatter
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the trace")
    parser.add_argument(
        "--against", metavar="ENTRY", help="the entry of envs.toml to play on (default: the recorded one)"
    )
    parser.add_argument(
        "--in-process", action="store_true", help="without the bridge, in a process of the simulator's interpreter"
    )
    parser.add_argument(
        "--allow-import", action="store_true", help="make calls that import what the file names; only if you trust it"
    )
    parser.add_argument("--envs", type=Path, metavar="FILE", help="an envs.toml (default: the one that gym.make uses)")
    parser.add_argument("--to", choices=["minari"], help="export the trace instead; it must have its values (--full)")
    parser.add_argument("--dataset-id", metavar="ID", help="the id of the data set (default: trace/NAME-v0)")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command; return the exit code.

    Raises:
        TraceError: the file cannot be read, played or exported.
        ConfigError: the options cannot be used, or there is no such entry.
        GymServiceError: the env cannot be made.
    """
    if arguments.to:
        return _export(arguments)
    if arguments.dataset_id:
        raise ConfigError("--dataset-id needs --to minari", file=None, key="dataset_id")
    if arguments.envs:
        os.environ["GYM_SERVICE_ENVS"] = str(arguments.envs.absolute())
    from gym_service.cli.progress import progress_bar
    from gym_service.traces.replay import replay, verified

    header, end = verified(arguments.file)
    print(
        f"{arguments.file}: {counted(end['calls'], 'call')}, {counted(end['steps'], 'step')}, recorded with "
        f"{_simulator(header)}",
        flush=True,
    )
    with progress_bar("replaying", end["calls"]) as progress:
        found = replay(
            arguments.file,
            against=arguments.against,
            in_process=arguments.in_process,
            allow_import=arguments.allow_import,
            progress=progress,
        )
    return _tell(found)


def _tell(found: "Replayed") -> int:
    for note in found.notes:
        print(f"note: {note}")
    if found.difference:
        print(f"different with {found.simulator}")
        print(found.difference)
        return 1
    print(f"the same with {found.simulator}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from gym_service.traces.minari_export import default_dataset_id, export_to_minari

    exported = export_to_minari(arguments.file, arguments.dataset_id or default_dataset_id(arguments.file))
    counts = f"{counted(exported.episodes, 'episode')}, {counted(exported.steps, 'step')}"
    print(f"{exported.dataset_id}: {counts}")
    for what in exported.left_out:
        print(f"note: left out: {what}")
    return 0


def _simulator(header: dict[str, object]) -> str:
    simulator = header.get("simulator")
    facts = simulator if isinstance(simulator, dict) else {}
    return f"{facts.get('api')}, Python {facts.get('python')}"
