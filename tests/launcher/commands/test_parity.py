"""Parity over a command: bit for bit what the simulator returns inside its own interpreter."""

from pathlib import Path
from typing import Any

import pytest
from support import plays, remote
from support.hosts import Engine, SshHost
from support.targets import TARGETS

STEPS = 120


def assert_parity(target: str, names: tuple[str, ...], **where: Any) -> None:
    python = TARGETS[target].python()
    plans = [plays.jobs_for(target)[name] for name in names]
    for plan in plans:
        plan["actions"] = plan["actions"][:STEPS]
    for plan, expected in zip(plans, plays.in_process(python, plans), strict=True):
        ours = remote.played(plan, python, transport="stdio", **where)
        assert len(ours) > STEPS
        plays.assert_same(ours, expected)


@pytest.mark.parametrize("target", ["py36-gym021", "py313-gymnasium14"])
def test_over_ssh(ssh_host: SshHost, remote_envs: Path, target: str) -> None:
    assert_parity(target, ("cartpole", "camera"), command=ssh_host.command("bash"), pythonpath=[str(remote_envs)])


@pytest.mark.slow
def test_in_a_container(engine: Engine, remote_envs: Path) -> None:
    assert_parity("py312-gymnasium14", ("blackjack", "camera"), command=engine.docker, pythonpath=[str(remote_envs)])


@pytest.mark.slow
def test_in_a_job(engine: Engine, remote_envs: Path) -> None:
    assert_parity("py39-gym026", ("frozenlake", "camera"), command=engine.srun, pythonpath=[str(remote_envs)])
