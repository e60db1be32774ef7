"""PushT in its own interpreter, with its own old numpy, driven from this one through ``gym.make``.

Plays one episode, prints what runs where and what the bridge costs, and writes outputs/pusht.gif and
outputs/pusht.png. Where PyPI cannot be reached it plays CartPole in another interpreter and says why.

    python examples/quickstart.py
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

import gym_service
from gym_service.errors import ConfigError, ServerStartError

ROOT = Path(__file__).parent.parent
OUTPUTS = ROOT / "outputs"
SEED = 7
BLOCKS, BLOCK_STEPS = 15, 20
FRAME_EVERY, FRAME_PIXELS, GIF_FRAME_MS = 3, 340, 100
SHEET_COLUMNS, SHEET_ROWS = 5, 2

console = Console()


def main() -> None:
    """Make the env, play, measure, show."""
    env, picture_name, policy = make_pusht() or make_cartpole()
    try:
        frames, steps = play(env, policy)
        inside_s, through_s = measure(env)
        console.print(
            f"\nthe simulator's Python: {env.unwrapped.target['executable']}", soft_wrap=True, highlight=False
        )
        console.print(table(env.unwrapped.target, steps, inside_s, through_s))
    finally:
        env.close()
    if frames:
        save(frames, picture_name)


def make_pusht() -> tuple[gym.Env, str, Callable[..., Any]] | None:
    """PushT as ``envs.toml`` has it; None, with the reason, where its venv cannot be built."""
    gym_service.use(ROOT / "envs.toml")
    console.print('gym.make("gym_service/PushT-v0")', style="bold")
    try:
        env = gym.make("gym_service/PushT-v0", render_mode="rgb_array", service=stopwatch())
    except (ConfigError, ServerStartError) as error:
        console.print(f"PushT cannot be had here, so this is CartPole instead. The reason:\n{error}\n", style="yellow")
        return None
    return env, "pusht", push_the_block


def make_cartpole() -> tuple[gym.Env, str, Callable[..., Any]]:
    """CartPole in the first other interpreter that has gymnasium or gym; else in a second process of this one."""
    for python in [*other_interpreters(), sys.executable]:
        try:
            env = gym_service.make("CartPole-v1", python=str(python), render_mode="rgb_array", **stopwatch())
        except (ConfigError, ServerStartError):
            continue
        return env, "cartpole", keep_the_pole_up
    raise SystemExit("no interpreter with gymnasium or gym was found, not even this one")


def other_interpreters() -> Iterator[Path]:
    """The interpreters of this machine that are of another version and have what a target needs."""
    from gym_service_launcher.interpreters.diagnosis import diagnose
    from gym_service_launcher.interpreters.discovery import find_versions
    from gym_service_launcher.standalone import env_vars

    for version, path in find_versions():
        report = diagnose(path, env_vars.environment(path, {}, []))
        if report.problem is None and version != platform.python_version():
            yield path


def stopwatch() -> dict[str, Any]:
    """What lets the simulator import examples/stopwatch.py, to be timed from the inside."""
    return {"pythonpath": [str(ROOT / "examples")]}


def push_the_block(env: gym.Env, info: dict[str, Any], step: int) -> Any:
    """Get behind the block as seen from the goal, push, and again: no policy to be proud of, but the block moves."""
    block, to_goal = info["block_pose"][:2], info["goal_pose"][:2] - info["block_pose"][:2]
    towards = to_goal / max(float(np.linalg.norm(to_goal)), 1.0)
    target = block - 110 * towards if step % 30 < 15 else block + 30 * towards
    return np.clip(target, 40, 470).astype(env.action_space.dtype)


def keep_the_pole_up(env: gym.Env, info: dict[str, Any], step: int) -> Any:
    """Push to the side to which the pole falls."""
    _, _, angle, speed = env.unwrapped.state
    return int(angle + 0.4 * speed > 0)


def play(env: gym.Env, policy: Callable[..., Any]) -> tuple[list[np.ndarray], int]:
    """One episode: its frames, and how many steps it took."""
    _, info = env.reset(seed=SEED)
    frames = []
    limit = env.spec.max_episode_steps if env.spec else 500
    for step in track(range(limit), "one episode", console=console):
        _, _, terminated, truncated, info = env.step(policy(env, info, step))
        if step % FRAME_EVERY == 0 and (frame := env.render()) is not None:
            frames.append(frame)
        if terminated or truncated:
            break
    return frames, step + 1


def measure(env: gym.Env) -> tuple[float, float]:
    """Seconds for a step, timed inside the simulator's process and through the bridge: medians of blocks in turn."""
    inside, through = [], []
    for block in range(BLOCKS):
        actions = [env.action_space.sample() for _ in range(BLOCK_STEPS)]
        inside.append(env.unwrapped.call("stopwatch:step_s", actions, SEED + block))
        env.reset(seed=SEED + block)
        started = time.perf_counter()
        for action in actions:
            if env.step(action)[2]:
                env.reset()
        through.append((time.perf_counter() - started) / BLOCK_STEPS)
    return statistics.median(inside), statistics.median(through)


def table(target: dict[str, Any], steps: int, inside_s: float, through_s: float) -> Table:
    """What ran where, and what it cost."""
    shown = Table(title="one env, two interpreters", title_justify="left")
    for heading in ("", "your code", "the simulator"):
        shown.add_column(heading)
    shown.add_row("Python", platform.python_version(), target["python"])
    shown.add_row("numpy", np.__version__, target["numpy"])
    shown.add_row("gym", f"gymnasium {gym.__version__}", target["api"])
    shown.add_row("process", f"{os.getpid()}", f"{target['pid']}")
    shown.add_section()
    shown.add_row("steps", str(steps), "")
    shown.add_row("steps/s", f"{1 / through_s:,.0f}", f"{1 / inside_s:,.0f} without the bridge")
    shown.add_row("a step", f"{through_s * 1e6:,.0f} µs", f"{inside_s * 1e6:,.0f} µs without the bridge")
    shown.add_row("the bridge", f"{(through_s - inside_s) * 1e6:,.0f} µs a step", "")
    return shown


def save(frames: list[np.ndarray], name: str) -> None:
    """The episode as a GIF, and ten moments of it as a contact sheet."""
    OUTPUTS.mkdir(exist_ok=True)
    images = [Image.fromarray(frame) for frame in frames]
    for image in images:
        image.thumbnail((FRAME_PIXELS, FRAME_PIXELS))
    gif, sheet = OUTPUTS / f"{name}.gif", OUTPUTS / f"{name}.png"
    images[0].save(gif, save_all=True, append_images=images[1:], duration=GIF_FRAME_MS, loop=0)
    width, height = images[0].size
    canvas = Image.new("RGB", (SHEET_COLUMNS * width, SHEET_ROWS * height))
    for place, index in enumerate(np.linspace(0, len(images) - 1, SHEET_COLUMNS * SHEET_ROWS).astype(int)):
        canvas.paste(images[index], (place % SHEET_COLUMNS * width, place // SHEET_COLUMNS * height))
    canvas.save(sheet)
    console.print(f"wrote {gif.relative_to(ROOT)} ({len(images)} frames) and {sheet.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
