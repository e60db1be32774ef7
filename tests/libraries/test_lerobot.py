"""LeRobot, installed from its wheels, with simulators in other interpreters.

The plugin and gym-service are installed from this repository into a folder beside LeRobot's venv.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import procfs
from support.paths import REPOSITORY
from support.targets import TARGETS, find_uv

pytestmark = pytest.mark.integrations

RECORDED = Path(__file__).absolute().parent / "programs/lerobot_dataset.py"
PLUGIN = REPOSITORY / "integrations/lerobot_env_gym_service"
# The simulator's requirements where LeRobot makes it itself, in the versions of the target "pusht".
PUSHT_INSIDE = "gym-pusht==0.1.8 pymunk==6.11.1 cffi==2.1.1 pycparser==3.12 pygame==2.6.1 shapely==2.1.2"
TINY_POLICY = [
    "--policy.type=act",
    "--policy.dim_model=64",
    "--policy.n_heads=2",
    "--policy.dim_feedforward=64",
    "--policy.pretrained_backbone_weights=null",
    "--policy.device=cpu",
    "--policy.push_to_hub=false",
]
TWO_EPISODES = ["--eval.n_episodes=2", "--eval.batch_size=2"]
RUN_LIMIT_S = 900  # a run takes 20 s of CPU, and 12 for each async worker; the limit is for a very busy machine
ENVS = {
    "PushT-v0": ("pusht", "gym_pusht/PushT-v0", "gym_pusht"),
    "XarmLift-v0": ("xarm", "gym_xarm/XarmLift-v0", "gym_xarm"),
    "AlohaTransferCube-v0": ("aloha", "gym_aloha/AlohaTransferCube-v0", "gym_aloha"),
}
LOOK_AT_VIDEOS = """
import sys, av, json
for path in sys.argv[1:]:
    with av.open(path) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        print(json.dumps([len(frames), *frames[0].shape, float(video.streams.video[0].average_rate), frames[1].std()]))
"""


class LeRobot(NamedTuple):
    """LeRobot's interpreter, the folder beside it, and the folder for its output."""

    python: Path
    beside: Path
    folder: Path

    def environ(self, *folders: Path) -> dict[str, str]:
        path = os.pathsep.join(map(str, folders or (self.beside,)))
        caches = {"HF_HOME": str(self.folder / "hf"), "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "torch")}
        return {**os.environ, **caches, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}

    def program(self, name: str) -> str:
        return str(self.python.parent / name)

    def command(self, words: Sequence[str], name: str) -> list[str]:
        output = f"--output_dir={self.folder / name}"
        return [self.program("lerobot-eval"), *words, *TINY_POLICY, *TWO_EPISODES, output]

    def evaluate(self, words: Sequence[str], name: str, *folders: Path) -> dict[str, Any]:
        """The content of eval_info.json that lerobot-eval wrote."""
        done = self.run(self.command(words, name), *folders)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        return json.loads((self.folder / name / "eval_info.json").read_text())

    def run(self, command: Sequence[str], *folders: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ(*folders),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
        )

    def videos(self, info: dict[str, Any]) -> list[list[float]]:
        """For each video: frames, height, width, channels, frames per second, and a measure of its content."""
        done = self.run([str(self.python), "-c", LOOK_AT_VIDEOS, *info["overall"]["video_paths"]])
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with gym-service and the plugin, built and installed as users install them."""
    wheels = tmp_path_factory.mktemp("wheels")
    for source in (REPOSITORY, PLUGIN):
        build = [*(find_uv() or ("uv",)), "build", "--quiet", "--no-build-isolation", "--python", sys.executable]
        subprocess.run([*build, "--out-dir", wheels, source], check=True)
    return installed(tmp_path_factory.mktemp("beside"), *map(str, wheels.glob("*.whl")))


@pytest.fixture
def lerobot(beside: Path, tmp_path: Path) -> LeRobot:
    entries = []
    for key, (target, env_id, module) in ENVS.items():
        entries += [f'[envs."{key}"]', f"python = {str(TARGETS[target].python())!r}", f"id = {env_id!r}"]
        entries += [f"imports = [{module!r}]", 'kwargs = { obs_type = "pixels_agent_pos" }']
    (tmp_path / "envs.toml").write_text("\n".join(entries))
    return LeRobot(TARGETS["lerobot"].python(), beside, tmp_path)


def installed(folder: Path, *requirements: str) -> Path:
    uv = find_uv() or ("uv",)
    python = str(TARGETS["lerobot"].python())
    subprocess.run(
        [*uv, "pip", "install", "--quiet", "--no-deps", "--python", python, "--target", folder, *requirements],
        check=True,
        cwd=folder,
    )
    return folder


def per_episode(info: dict[str, Any]) -> tuple[list[float], list[float], list[bool]]:
    (task,) = info["per_task"]
    return task["metrics"]["sum_rewards"], task["metrics"]["max_rewards"], task["metrics"]["successes"]


def gym_service(task: str, *words: str) -> list[str]:
    return ["--env.type=gym_service", f"--env.task={task}", *words]


def test_pusht_in_another_interpreter_is_pusht_inside(
    lerobot: LeRobot, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Sync, async and LeRobot's own env type: the same rewards, bit for bit."""
    length = "--env.episode_length=40"
    inside = installed(tmp_path_factory.mktemp("inside"), *PUSHT_INSIDE.split())
    expected = lerobot.evaluate(["--env.type=pusht", length, "--eval.use_async_envs=false"], "inside", inside)
    assert any(per_episode(expected)[0])
    for mode in ("false", "true"):
        words = gym_service("PushT-v0", length, f"--eval.use_async_envs={mode}")
        info = lerobot.evaluate(words, f"async-{mode}")
        assert per_episode(info) == per_episode(expected)
        assert [video[:5] for video in lerobot.videos(info)] == [[40, 680, 680, 3, 10]] * 2


@pytest.mark.parametrize(
    ("task", "mode", "size"), [("XarmLift-v0", "true", (680, 680)), ("AlohaTransferCube-v0", "false", (480, 640))]
)
def test_simulators_that_no_environment_can_hold_together(
    lerobot: LeRobot, task: str, mode: str, size: tuple[int, int]
) -> None:
    words = gym_service(task, "--env.episode_length=6", f"--eval.use_async_envs={mode}")
    info = lerobot.evaluate(words, "run")
    assert info["overall"]["n_episodes"] == 2
    for frames, height, width, channels, rate, contrast in lerobot.videos(info):
        assert (frames, height, width, channels) == (6, *size, 3)
        assert rate > 1
        assert contrast > 10


def test_a_recorded_evaluation_holds_every_camera_and_state(lerobot: LeRobot) -> None:
    """Also without an envs.toml."""
    target, env_id, module = ENVS["AlohaTransferCube-v0"]
    service = json.dumps({"python": str(TARGETS[target].python()), "imports": [module]})
    words = gym_service(env_id, f"--env.service={service}", '--env.kwargs={"obs_type": "pixels_agent_pos"}')
    words += ["--env.episode_length=4", "--env.task_description=hand it over", "--eval.use_async_envs=false"]
    lerobot.evaluate([*words, "--eval.recording=true"], "run")
    for index in range(2):
        meta = lerobot.folder / f"run/recordings/gym_service_0/env_{index}/meta"
        facts = json.loads((meta / "info.json").read_text())
        assert (facts["total_episodes"], facts["total_frames"]) == (1, 4)
        shapes = {name: facts["features"][name]["shape"] for name in ("action", "agent_pos", "observation.images.top")}
        assert shapes == {"action": [14], "agent_pos": [14], "observation.images.top": [480, 640, 3]}


def test_what_was_trained_with_evaluations_in_between_is_evaluated(lerobot: LeRobot) -> None:
    """A data set played through gym-service, two steps of training on it, and an evaluation after each."""
    record = [str(lerobot.python), str(RECORDED), str(lerobot.folder / "data")]
    done = lerobot.run(record)
    assert done.returncode == 0, done.stderr[-5000:]
    env = gym_service("PushT-v0", "--env.episode_length=8", "--eval.use_async_envs=false", *TWO_EPISODES)
    train = ["--dataset.repo_id=local/pusht", f"--dataset.root={lerobot.folder / 'data'}", "--wandb.enable=false"]
    train += ["--steps=2", "--env_eval_freq=1", "--save_freq=2", "--batch_size=2", "--num_workers=0", *TINY_POLICY]
    done = lerobot.run([lerobot.program("lerobot-train"), *env, *train, f"--output_dir={lerobot.folder / 'run'}"])
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    films = sorted(path.parent.parent.name for path in (lerobot.folder / "run/eval").rglob("*.mp4"))
    assert len(films) == 4, films  # two episodes after each step
    policy = lerobot.folder / "run/checkpoints/last/pretrained_model"
    words = [lerobot.program("lerobot-eval"), f"--policy.path={policy}", "--policy.device=cpu", *env]
    done = lerobot.run([*words, f"--output_dir={lerobot.folder / 'evaluated'}"])
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    info = json.loads((lerobot.folder / "evaluated/eval_info.json").read_text())
    assert info["overall"]["n_episodes"] == 2
    for path in Path(tempfile.gettempdir()).glob("tmp*.json"):  # LeRobot leaves them when it loads a policy
        path.unlink()


def test_a_killed_evaluation_leaves_nothing(lerobot: LeRobot) -> None:
    """The fixture around every test checks what is left of servers and workers."""
    words = gym_service("PushT-v0", "--eval.use_async_envs=true")
    run = subprocess.Popen(
        lerobot.command(words, "run"),
        cwd=lerobot.folder,
        env=lerobot.environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    said = []
    for line in run.stderr:
        said.append(line)
        if "Running rollout" in line:
            break
    assert run.poll() is None, "".join(said)
    run.send_signal(signal.SIGKILL)
    run.stderr.close()
    run.wait(60)
    end = time.monotonic() + 60
    while any(command_lines(str(lerobot.beside))) and time.monotonic() < end:
        time.sleep(0.05)
    assert list(command_lines(str(lerobot.beside))) == []
    for folder in Path(tempfile.gettempdir()).glob("pymp-*"):  # multiprocessing's; its owner was killed
        shutil.rmtree(folder)


def command_lines(word: str) -> Iterator[str]:
    """The command lines that contain this word: servers and guardians are run by path."""
    return (line for line in map(procfs.command_line, procfs.all_pids()) if word in line)


def test_a_task_that_is_not_there_says_what_to_try(lerobot: LeRobot) -> None:
    done = lerobot.run(lerobot.command(gym_service("PushT-v1"), "run"))
    assert done.returncode != 0
    assert "has no env 'PushT-v1'; it has: PushT-v0, XarmLift-v0, AlohaTransferCube-v0" in done.stderr
    assert "--env.envs_file=" in done.stderr


def test_the_example_prints_what_lerobot_has_written(lerobot: LeRobot) -> None:
    example = str(REPOSITORY / "examples/lerobot_eval.py")
    words = ["--python", str(TARGETS["pusht"].python()), "--episodes", "2", "--episode-length", "12"]
    done = lerobot.run([str(lerobot.python), example, *words, "--output", "run"])
    assert done.returncode == 0, done.stderr[-5000:]
    info = json.loads((lerobot.folder / "run/eval_info.json").read_text())
    assert [video[:5] for video in lerobot.videos(info)] == [[12, 680, 680, 3, 10]] * 2
    returns, best, successes = per_episode(info)
    expected = [
        [str(number), f"{total:.2f}", f"{most:.3f}", str(success)]
        for number, (total, most, success) in enumerate(zip(returns, best, successes, strict=True))
    ]
    lines = [line.split() for line in done.stdout[done.stdout.index("episode   return") :].splitlines()]
    assert lines[1:3] == expected
    assert [line[0] for line in lines[4:]] == info["overall"]["video_paths"]


def test_an_envhub_repository_of_one_file(lerobot: LeRobot) -> None:
    """As if it had been downloaded: LeRobot finds it in the hub's cache."""
    repository = lerobot.folder / "hub/models--you--pusht"
    (repository / "snapshots/0a1").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("0a1")
    (repository / "snapshots/0a1/env.py").write_bytes((REPOSITORY / "examples/envhub/env.py").read_bytes())
    script = (
        "from lerobot.envs.factory import make_env\n"
        "envs = make_env('you/pusht', n_envs=2, use_async_envs=True, hub_cache_dir='hub', trust_remote_code=True)\n"
        "env = envs['gym_service'][0]\n"
        "observation, info = env.reset(seed=[1, 2])\n"
        "print(sorted(observation), observation['pixels'].shape, env.call('_max_episode_steps'))\n"
        "env.close()\n"
    )
    done = lerobot.run([str(lerobot.python), "-c", script])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['agent_pos', 'pixels'] (2, 96, 96, 3) (300, 300)"
