"""Failures of simulators that many users meet, and what helps.

Knows texts of errors. Never knows how a server is started. Python 3.10 and up.
"""

from gym_service.errors import EnvError

# stable-retro, when a second emulator is made in one process: several envs in one worker do that.
ONE_EMULATOR = "multiple emulator instances per process"


def advice_for_env(error: EnvError, num_envs: int) -> str:
    """What to try after the simulator has raised while the env was made; empty where nothing is known."""
    if ONE_EMULATOR in error.message and num_envs > 1:
        return f"workers = {num_envs}, since this simulator holds one env per process"
    return ""


def advice_for_import(error: EnvError) -> str:
    """What to try after an import has failed in the target; empty where nothing is known."""
    if "No module named 'pkg_resources'" in error.message:
        return "setuptools<81 in that interpreter: newer versions have no pkg_resources"
    return ""
