"""gym-xarm and gym-aloha, stepped side by side. No environment can hold both: mujoco <3 against mujoco >=3.

Each gets a venv of its own, built by uv when it is first needed, or the interpreter that is named for it.

    python examples/two_simulators.py
    python examples/two_simulators.py --xarm ./xarm_env --aloha ./aloha_env
"""

import argparse
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import gym_service
from gym_service import RemoteEnv

HERE = Path(__file__).absolute().parent
SEED, STEPS = 7, 20

XARM = {"env_id": "gym_xarm/XarmLift-v0", "imports": ["gym_xarm"]}
ALOHA = {"env_id": "gym_aloha/AlohaTransferCube-v0", "imports": ["gym_aloha"]}
XARM_VENV = {"python": "3.11", "requires": ["gym-xarm==0.1.1", "gymnasium<1", "numpy<2"]}
ALOHA_VENV = {"python": "3.11", "requires": ["gym-aloha==0.1.5"]}


def main() -> None:
    """Make both, step both in turn, print what ran where."""
    parser = argparse.ArgumentParser(description="Step two simulators that cannot share an environment.")
    parser.add_argument("--xarm", metavar="PYTHON", help="an interpreter that has gym-xarm; else a venv is built")
    parser.add_argument("--aloha", metavar="PYTHON", help="an interpreter that has gym-aloha; else a venv is built")
    chosen = parser.parse_args()
    xarm_at = {"python": chosen.xarm} if chosen.xarm else XARM_VENV
    aloha_at = {"python": chosen.aloha} if chosen.aloha else ALOHA_VENV
    with make(XARM, xarm_at) as xarm, make(ALOHA, aloha_at) as aloha:
        envs = {"gym-xarm": xarm, "gym-aloha": aloha}
        show(envs, play(envs))


def make(env: dict[str, Any], where: dict[str, Any]) -> RemoteEnv:
    """An env with camera and state as its observation, in an interpreter of its own."""
    return gym_service.make(**env, **where, obs_type="pixels_agent_pos", pythonpath=[str(HERE)])


def play(envs: dict[str, RemoteEnv]) -> dict[str, tuple[float, float]]:
    """One step of each in turn; (sum of rewards, seconds per step) of each."""
    played = dict.fromkeys(envs, (0.0, 0.0))
    for env in envs.values():
        env.reset(seed=SEED)
        env.action_space.seed(SEED)
    for _ in range(STEPS):
        for name, env in envs.items():
            total, seconds = played[name]
            started = time.perf_counter()
            reward = env.step(env.action_space.sample())[1]
            played[name] = total + float(reward), seconds + (time.perf_counter() - started) / STEPS
    return played


def show(envs: dict[str, RemoteEnv], played: dict[str, tuple[float, float]]) -> None:
    """A table: a simulator in each column."""
    table = Table("", *envs, title="two simulators, one script")
    for name in ("mujoco", "numpy", "gymnasium"):
        table.add_row(name, *(env.call("inside:version", name) for env in envs.values()))
    table.add_row("Python", *(env.target["python"] for env in envs.values()))
    table.add_row("process", *(str(env.target["pid"]) for env in envs.values()))
    table.add_row("steps", *(str(STEPS) for _ in envs))
    table.add_row("reward", *(f"{played[name][0]:.2f}" for name in envs))
    table.add_row("ms per step", *(f"{played[name][1] * 1000:.1f}" for name in envs))
    Console().print(table)


if __name__ == "__main__":
    main()
