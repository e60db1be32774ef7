"""Popular training libraries, each in its own venv, with the simulators in others.

``pytest tests/libraries -m integrations``; the first run builds some GB of venvs. Each program runs for real; its
findings are checked here. The fixture of tests/conftest.py checks that it leaves no process.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.paths import REPOSITORY
from support.targets import TARGETS

pytestmark = pytest.mark.integrations

PROGRAMS = Path(__file__).absolute().parent / "programs"
TIMEOUT_S = 1500
POLE = "py38-gym026"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An envs.toml with a simulator of gym 0.26 in Python 3.8, and one of pybullet in Python 3.10."""
    file = tmp_path / "envs.toml"
    pole, reach = (json.dumps(str(TARGETS[name].python())) for name in (POLE, "panda"))
    file.write_text(
        f'[envs."Pole-v1"]\npython = {pole}\nid = "CartPole-v1"\n\n'
        f'[envs."Reach-v3"]\npython = {reach}\nid = "PandaReach-v3"\nimports = ["panda_gym"]\n'
    )
    own = {"GYM_SERVICE_ENVS": str(file), "POLE_PYTHON": str(TARGETS[POLE].python()), "OMP_NUM_THREADS": "1"}
    return {
        **os.environ,
        **own,
        "MINARI_DATASETS_PATH": str(tmp_path / "minari"),
        "SB3_LOGDIR": str(tmp_path / "sb3"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "torch"),
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",
    }


def found_by(program: str, environ: dict[str, str], *words: str, target: str = "trainers") -> dict[str, Any]:
    """The last line of a program's output."""
    command = [str(TARGETS[target].python()), str(PROGRAMS / program), *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def test_sb3_has_nothing_to_complain_of_but_that_it_guesses_goals(environ: dict[str, str]) -> None:
    complaints = found_by("sb3.py", environ, "check")
    pole, reach = complaints.values()
    assert pole == []
    assert all("detected your env to be a GoalEnv" in one for one in reach)


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_sb3_learns_from_workers_what_it_learns_from_one_process(start_method: str, environ: dict[str, str]) -> None:
    assert found_by("sb3.py", environ, "play", start_method) == found_by("sb3.py", environ, "play", "none")


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_data_loader_each_have_a_simulator(start_method: str, environ: dict[str, str]) -> None:
    found = found_by("data_loader.py", environ, start_method)
    assert found["two rounds"] == found["persistent"] == [found["alone"]] * 2
    assert found["first rows"] == 8
    if start_method == "fork":
        assert found["goes on"] == 1.0
        (said,) = found["forked"]
        assert "process" in said


def test_sb3_with_hindsight_asks_the_simulator_for_rewards(environ: dict[str, str]) -> None:
    found = found_by("sb3.py", environ, "her")
    assert found["rewards"] == [0.0, -1.0]
    assert found["timesteps"] == 150
    assert found["updates"] > 0


def test_sb3_records_a_video(environ: dict[str, str], tmp_path: Path) -> None:
    found_by("sb3.py", environ, "video", str(tmp_path / "videos"))
    (film,) = (tmp_path / "videos").glob("*.mp4")
    assert b"ftyp" in film.read_bytes()[:12]


def test_minari_collects_and_recovers(environ: dict[str, str]) -> None:
    found = found_by("minari_.py", environ)
    assert found["episodes"] == 3
    assert found["steps"] > 20
    assert found["same"] == [True] * 3


@pytest.mark.parametrize("kind", ["dummy", "subproc"])
def test_tianshou_learns(kind: str, environ: dict[str, str]) -> None:
    found = found_by("tianshou_.py", environ, kind)
    assert found["steps"] == 200
    assert found["updates"] > 0
    assert found["best"] >= 8  # no pole can fall sooner


TORCHRL = {
    "env": ([4], "torch.float32"),
    "wrapper": ([4], "torch.float32"),
    "goal": ([6], "torch.float32"),
    "pixels": ([400, 600, 3], "torch.uint8"),
    "parallel": ([4], "torch.float32"),
}


@pytest.mark.parametrize("kind", TORCHRL)
def test_torchrl_finds_what_its_specs_say(kind: str, environ: dict[str, str]) -> None:
    found = found_by("torchrl_.py", environ, kind)
    shape, dtype = TORCHRL[kind]
    assert found["shape"][-len(shape) :] == shape
    assert (found["shape"][0] == 2) == (kind == "parallel")
    assert found["dtype"] == dtype


@pytest.mark.parametrize(
    ("how", "mode"), [("id", "sync"), ("id", "async"), ("registered", "sync"), ("registered", "async")]
)
def test_rllib_trains_and_a_killed_runner_leaves_nothing(how: str, mode: str, environ: dict[str, str]) -> None:
    try:
        found = found_by("rllib.py", environ, how, mode, target="rllib")
    finally:
        shutil.rmtree(Path(tempfile.gettempdir(), "ray"), ignore_errors=True)  # the logs of its session
    assert found["steps"] >= 128
    assert found["servers"] >= 2
    assert found["left"] == 0


@pytest.fixture
def of_agents(tmp_path: Path) -> dict[str, str]:
    own = {"AGENTS_PYTHON": str(TARGETS["pettingzoo"].python()), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, "SB3_LOGDIR": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "torch")}


def test_supersuit_leads_a_parallel_env_to_sb3_which_learns(of_agents: dict[str, str]) -> None:
    found = found_by("supersuit_.py", of_agents, "learn", target="supersuit")
    assert (found["error"], found["envs"], found["servers"]) == (None, 6, 3)
    assert found["steps"] >= 2000
    assert found["moved"] > 0
    assert found["finite"]


def test_a_server_that_is_killed_behind_supersuit_is_the_typed_error(of_agents: dict[str, str]) -> None:
    found = found_by("supersuit_.py", of_agents, "killed", target="supersuit")
    assert (found["error"], found["during"], found["exit_code"]) == ("ServerCrashed", "step", -signal.SIGKILL)


def test_the_example_of_ppo_learns(environ: dict[str, str]) -> None:
    command = [str(TARGETS["trainers"].python()), str(REPOSITORY / "examples" / "ppo.py"), "--python"]
    command += [environ["POLE_PYTHON"], "--total-steps", "20000"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    first, *_, last = (float(line.split("return")[1].split()[0]) for line in done.stdout.splitlines())
    assert first < 60 < 100 < last


def test_a_full_trace_is_read_back_by_minari_as_it_was(environ: dict[str, str]) -> None:
    for found in found_by("traces_.py", environ).values():
        assert found["episodes"] == 3
        assert found["steps"] > 30
        assert found["same"] == [True, True, True]


def test_record_video_makes_a_video_of_a_remote_env(environ: dict[str, str]) -> None:
    found = found_by("record_video.py", environ)
    assert found["frames"] == found["steps"] + 1
    assert found["shape"] == [400, 600, 3]
    assert found["differ"] > 0.1
