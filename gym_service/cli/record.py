"""``gym-service record``: plays an env and writes what it shows into a video, or what it gives into a trace.

Knows the arguments of the command and what it prints. Never knows how a video is encoded or a trace is written. Python
3.10 and up.

The file appears when it is whole. Ctrl-C, or an error, leaves none.
"""

import argparse
import contextlib
import math
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gym_service_launcher.errors import ConfigError, GymServiceError

from gym_service.cli.help_format import HelpFormatter
from gym_service.cli.policies import frames_per_second, policy_of, reset_of_episode
from gym_service.cli.progress import counted

ABOUT = "play an env and record it: a video, a GIF, a contact sheet or a trace"
EPILOG = """\
ENV is an entry of envs.toml. The ending of FILE says what is made:
  .mp4    a video; needs PyAV, pip install "gym-service[video]"
  .gif    an animated GIF; needs Pillow
  .png    a contact sheet, 24 frames at most; needs Pillow
  .trace  seeds, options, actions and a digest of everything that came back, for
          gym-service replay; with --full the values too

Without --episodes and --steps one episode is played, of 1000 steps at most. A
policy "module:function" is imported from this folder and called with each
observation; it returns the action.

examples:
  gym-service record PushT-v0 -o pusht.mp4
  gym-service record PushT-v0 -o pusht.gif --episodes 3 --seed 7
  gym-service record Pong-v5 -o pong.png --steps 500 --policy zero
  gym-service record PushT-v0 -o pusht.trace --steps 200
"""
DEFAULT_FPS = 30.0
DEFAULT_STEPS = 1000
TRACE = ".trace"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of ``gym-service``."""
    description = f"{ABOUT[0].upper()}{ABOUT[1:]}."
    parser = commands.add_parser(
        "record", help=ABOUT, description=description, epilog=EPILOG, formatter_class=HelpFormatter
    )
    parser.add_argument("env", metavar="ENV", help="an entry of envs.toml")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="the file to write")
    parser.add_argument("--episodes", type=_count, metavar="N", help="how many episodes")
    parser.add_argument("--steps", type=_count, metavar="N", help="how many steps, in as many episodes as it takes")
    parser.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="of the first reset and of the policy (default: 0; none if the env cannot be seeded)",
    )
    parser.add_argument("--policy", default="random", metavar="P", help="random (default), zero or module:function")
    fps = "frames a second (default: those of the env, or 30)"
    parser.add_argument("--fps", type=frames_per_second, metavar="F", help=fps)
    parser.add_argument("--full", action="store_true", help="keep the values in a trace, not their digest alone")
    parser.add_argument("--envs", type=Path, metavar="FILE", help="an envs.toml (default: the one that gym.make uses)")
    parser.set_defaults(command=run)


@dataclass
class Played:
    """What was played so far."""

    episodes: int = 0
    steps: int = 0
    frames: int = 0


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command; return the exit code.

    Raises:
        ConfigError: there is no such entry, or the options cannot be used.
        GymServiceError: the env cannot be made or rendered, or the file cannot be written.
    """
    kind = arguments.output.suffix.lower()
    _refuse_conflicts(arguments, kind)
    if arguments.envs:
        os.environ["GYM_SERVICE_ENVS"] = str(arguments.envs.absolute())
    return (_record_trace if kind == TRACE else _record_frames)(arguments, kind)


def _refuse_conflicts(arguments: argparse.Namespace, kind: str) -> None:
    from gym_service.video.writers import WRITERS

    if kind not in (*WRITERS, TRACE):
        known = ", ".join((*WRITERS, TRACE))
        text = f"-o {arguments.output}: the ending {kind!r} says nothing of what to make; there are {known}"
        raise ConfigError(text, file=None, key="output")
    if arguments.full and kind != TRACE:
        raise ConfigError("--full is about a trace: -o FILE.trace", file=None, key="full")
    if arguments.fps and kind in (TRACE, ".png"):
        raise ConfigError(f"--fps is about a video, and {kind} is none", file=None, key="fps")
    parent = arguments.output.absolute().parent
    if arguments.output.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        reason = "it is a folder" if arguments.output.is_dir() else "its folder is not there, or may not be written to"
        raise GymServiceError(f"{arguments.output} cannot be written: {reason}\n  try: another FILE")


def _record_trace(arguments: argparse.Namespace, kind: str) -> int:
    from gym_service.factory.make import make
    from gym_service.traces.recorder import record_trace

    with contextlib.closing(make(arguments.env)) as bare:
        traced = record_trace(bare, arguments.output, full=arguments.full)
        try:
            played = _play(bare, arguments, lambda: None)
            traced.close()
        except BaseException:
            traced.discard_trace()
            raise
    _tell(arguments.output, f"{counted(played.steps, 'step')}, {counted(played.episodes, 'episode')}", [])
    return 0


def _record_frames(arguments: argparse.Namespace, kind: str) -> int:
    from gym_service.video.frames import OneSize, rgb
    from gym_service.video.writers import WRITERS

    sizes = OneSize()
    with contextlib.closing(_rendering_env(arguments.env)) as env:
        fps = arguments.fps or _fps_of(env)
        with _whole_file(arguments.output) as partial, contextlib.closing(WRITERS[kind](partial, fps)) as writer:
            show = lambda: writer.add(sizes.fit(rgb(_rendered(env))))  # noqa: E731
            played = _play(env, arguments, show)
            writer.finish()
            notes = list(writer.notes)
    assert sizes.size
    if sizes.changed:
        notes.append(f"{sizes.changed} frames had another size than the first, and were scaled")
    size = f"{sizes.size[1]}×{sizes.size[0]}"
    duration = "" if kind == ".png" else f", {played.frames / fps:.1f} s at {fps:g} frames/s"
    counts = f"{counted(played.steps, 'step')}, {counted(played.episodes, 'episode')}"
    _tell(arguments.output, f"{counted(played.frames, 'frame')} of {size}{duration}, {counts}", notes)
    return 0


def _rendering_env(name: str) -> Any:
    """The env, made to give frames. Raises GymServiceError where it has none."""
    from gym_service.errors import EnvError
    from gym_service.factory.make import make

    try:
        return make(name, render_mode="rgb_array")
    except EnvError as error:
        modes = _modes_of(name)
        if modes and "rgb_array" not in modes:
            raise _no_frames(name, modes) from error
        raise


def _modes_of(name: str) -> list[str]:
    """The render modes of an env, by making it without one; none where that cannot be made either."""
    from gym_service.factory.make import make

    try:
        with contextlib.closing(make(name)) as env:
            return [str(mode) for mode in env.metadata.get("render_modes") or ()]
    except GymServiceError:
        return []


def _no_frames(name: str, modes: list[str]) -> GymServiceError:
    text = (
        f"{name!r} renders {', '.join(map(repr, modes))} and no 'rgb_array', so there is nothing to make a picture of"
    )
    return GymServiceError(f"{text}\n  try: a trace of it, -o FILE.trace")


def _rendered(env: Any) -> Any:
    frame = env.render()
    modes = [str(mode) for mode in env.metadata.get("render_modes") or ()]
    if (frame is None or isinstance(frame, str)) and modes and "rgb_array" not in modes:
        raise _no_frames(str(env._origin["entry"] or env._origin["id"]), modes)
    return frame


def _fps_of(env: Any) -> float:
    """What the env says of itself, if that is a number above 0."""
    try:
        fps = float(env.metadata.get("render_fps") or 0)
    except (TypeError, ValueError):
        fps = 0.0
    return fps if 0 < fps < math.inf else DEFAULT_FPS


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A path beside the file. What is there when the block ends becomes the file; after an error it is removed."""
    partial = path.absolute().parent / f".{path.name}.{secrets.token_hex(4)}.partial"
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise GymServiceError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _play(env: Any, arguments: argparse.Namespace, show: Callable[[], None]) -> Played:
    """Play as many episodes and steps as are asked for; show after each reset and each step."""
    from gym_service.cli.progress import progress_bar

    policy = policy_of(arguments.policy, env, arguments.seed or 0)
    episodes = arguments.episodes or (math.inf if arguments.steps else 1)
    steps = arguments.steps or (math.inf if arguments.episodes else DEFAULT_STEPS)
    played, over, observation = Played(), True, None
    total = arguments.steps or (None if arguments.episodes else DEFAULT_STEPS)
    with progress_bar(f"recording {arguments.env}", total) as progress:
        while played.steps < steps and not (over and played.episodes >= episodes):
            if over:
                observation, _ = reset_of_episode(env, arguments.seed, played.episodes)
                played.episodes += 1
                _show(show, played)
            observation, _, terminated, truncated, _ = env.step(policy(observation))
            over = bool(terminated or truncated)
            played.steps += 1
            _show(show, played)
            progress(played.steps)
    return played


def _show(show: Callable[[], None], played: Played) -> None:
    show()
    played.frames += 1


def _tell(path: Path, counts: str, notes: list[str]) -> None:
    size = path.stat().st_size
    shown = f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 1024:.1f} KiB"
    print(f"{path}: {counts}, {shown}")
    for note in notes:
        print(f"note: {note}")


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
