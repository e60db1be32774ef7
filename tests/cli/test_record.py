"""``gym-service record`` and ``replay`` as commands: the content of their files, and their messages without one."""

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.paths import ENVS
from support.polling import until
from support.targets import TARGETS

from gym_service.cli import main as cli
from gym_service.errors import GymServiceError
from gym_service.video.frames import OneSize, even, rgb
from gym_service.video.writers import ContactSheet, GifWriter

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

ENTRY = '[envs."{}"]\npython = "{}"\n{}\n'


@pytest.fixture(autouse=True)
def envs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an envs.toml, as the working directory."""
    python = TARGETS["py312-gymnasium14"].python()
    more = f'imports = ["misbehaving"]\npythonpath = ["{ENVS}"]'
    entries = {
        "CartPole-v1": ENTRY.format("CartPole-v1", python, ""),
        "Text-v0": ENTRY.format("Text-v0", python, f'entry_point = "text_only:TextOnlyEnv"\npythonpath = ["{ENVS}"]'),
        "Misbehaving-v0": ENTRY.format("Misbehaving-v0", python, more),
    }
    (tmp_path / "envs.toml").write_text("".join(entries.values()))
    monkeypatch.delenv("GYM_SERVICE_ENVS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if name != "envs.toml" and not name.startswith("__")}


def test_a_gif_shows_each_step_for_its_time(envs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["record", "CartPole-v1", "-o", "a.gif", "--steps", "30", "--seed", "3", "--fps", "20"]) == 0
    said = capsys.readouterr().out
    assert "a.gif: 32 frames of 600×400, 1.6 s at 20 frames/s, 30 steps, 2 episodes, " in said
    frames, durations_ms = [], []
    with Image.open(envs / "a.gif") as image:
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
            durations_ms.append(image.info["duration"])
    assert frames[0].shape == (400, 600, 3)
    assert sum(durations_ms) == 1600
    assert len(frames) > 20  # frames that are equal in 256 colours are merged into one with a longer duration
    assert all((one != other).any() for one, other in pairwise(frames))
    assert files(envs) == {"a.gif"}


def test_an_mp4_is_decoded_again(envs: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is missing (pip install av)")
    assert cli.main(["record", "CartPole-v1", "-o", "a.mp4", "--episodes", "2", "--policy", "zero"]) == 0
    with av.open(str(envs / "a.mp4")) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate) == 50  # CartPole's own
    assert frames[0].shape == (400, 600, 3)
    assert len(frames) > 16
    assert np.abs(frames[-1].astype(int) - frames[3]).mean() > 0.1


def test_a_contact_sheet_shows_frames_of_the_whole_play(envs: Path) -> None:
    assert cli.main(["record", "CartPole-v1", "-o", "a.PNG", "--steps", "60"]) == 0
    with Image.open(envs / "a.PNG") as image:
        assert (image.format, image.size) == ("PNG", (6 * 244 + 4, 4 * (160 + 14 + 4) + 4))


def test_a_trace_is_recorded_and_replayed(envs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (envs / "always.py").write_text("def right(observation):\n    assert observation.shape == (4,)\n    return 1\n")
    assert cli.main(["record", "CartPole-v1", "-o", "a.trace", "--full", "--policy", "always:right"]) == 0
    assert cli.main(["replay", "a.trace"]) == 0
    assert "the same with gymnasium 1.4.0, Python 3.12.1, through the bridge" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["replay"])
    assert cli.main(["replay", "a.trace", "--against", "Misbehaving-v0"]) == 1
    assert "\nreset 0 (call 0): $.observation: " in capsys.readouterr().out
    assert cli.main(["replay", "envs.toml"]) == 2
    assert "envs.toml is no trace" in capsys.readouterr().err


REFUSED: dict[str, tuple[list[str], str]] = {
    "an unknown entry": (["CartPol-v1", "-o", "a.gif"], "  try: 'CartPole-v1'"),
    "an unknown ending": (["CartPole-v1", "-o", "a.avi"], "'.avi' says nothing of what to make; there are .mp4, .gif"),
    "a missing folder": (["CartPole-v1", "-o", "no/a.gif"], "no/a.gif cannot be written: its folder is not there"),
    "a folder": (["CartPole-v1", "-o", "."], "says nothing of what to make"),
    "no policy": (["CartPole-v1", "-o", "a.gif", "--policy", "best"], "is none of random, zero and module:function"),
    "a missing policy": (["CartPole-v1", "-o", "a.gif", "--policy", "no:p"], "No module named 'no'"),
    "values in a video": (["CartPole-v1", "-o", "a.gif", "--full"], "--full is about a trace"),
    "an env of texts": (["Text-v0", "-o", "a.gif"], "'Text-v0' renders 'ansi' and no 'rgb_array'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_is_said(envs: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    words, text = REFUSED[name]
    assert cli.main(["record", *words]) == 2
    assert text in capsys.readouterr().err
    assert not files(envs)


def test_a_crash_in_the_middle_leaves_no_file(envs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (envs / "crash.py").write_text("import os\n\n\ndef act(observation):\n    return observation['count'] // 3 * 9\n")
    for output in ("a.gif", "a.trace"):
        assert cli.main(["record", "Misbehaving-v0", "-o", output, "--steps", "9", "--policy", "crash:act"]) == 2
        assert "is no action" in capsys.readouterr().err
        assert not files(envs) - {"crash.py"}


def test_ctrl_c_leaves_no_file(envs: Path) -> None:
    argv = [sys.executable, "-m", "gym_service", "record", "CartPole-v1", "-o", "a.trace", "--episodes", "100000"]
    with subprocess.Popen(argv, cwd=envs, stderr=subprocess.PIPE) as command:
        until(lambda: any(name.endswith(".partial") for name in files(envs)), "a trace that has begun")
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 130
    assert not files(envs)


SHAPES = [((4, 6), (4, 6, 3)), ((4, 6, 1), (4, 6, 3)), ((4, 6, 3), (4, 6, 3)), ((4, 6, 4), (4, 6, 3))]


@pytest.mark.parametrize(("given", "wanted"), SHAPES)
def test_grey_and_rgba_frames_become_rgb(given: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    frame = np.arange(np.prod(given), dtype=np.uint8).reshape(given)
    found = rgb(frame)
    assert (found.shape, found.dtype) == (wanted, np.uint8)
    assert found.flags.c_contiguous
    assert (found[..., 0] == frame.reshape(4, 6, -1)[..., 0]).all()


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (None, "rendered nothing"),
        ("text", "rendered a str"),
        ([], "rendered a list"),
        (np.zeros((4, 6, 3)), "rendered an array of float64"),
        (np.zeros((4, 6, 2), np.uint8), r"of the shape \(4, 6, 2\)"),
        (np.zeros((0, 6, 3), np.uint8), r"of the shape \(0, 6, 3\)"),
    ],
)
def test_what_is_no_picture_is_refused(frame: object, text: str) -> None:
    with pytest.raises(GymServiceError, match=text):
        rgb(frame)


def test_frames_of_another_size_are_fitted_into_the_first_and_odd_ones_padded() -> None:
    sizes = OneSize()
    assert sizes.fit(np.full((10, 20, 3), 9, np.uint8)).shape == (10, 20, 3)
    smaller = sizes.fit(np.full((10, 10, 3), 200, np.uint8))
    assert smaller.shape == (10, 20, 3)
    assert (smaller[:, 5:15] == 200).all()
    assert not smaller[:, :5].any()
    assert sizes.changed == 1
    padded = even(np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3))
    assert padded.shape == (4, 6, 3)
    assert (padded[3] == padded[2]).all()


def test_a_gif_of_one_frame_and_one_that_is_too_fast(tmp_path: Path) -> None:
    for fps in (30, 60):
        writer = GifWriter(tmp_path / "a.gif", fps)
        for number in range(61):
            writer.add(np.full((8, 8, 3), number * 4, np.uint8))
        writer.finish()
        with Image.open(tmp_path / "a.gif") as image:
            total_ms = 0
            for number in range(image.n_frames):
                image.seek(number)
                total_ms += image.info["duration"]
        assert abs(total_ms - 61 * max(1000 / fps, 20)) <= 10
        assert len(writer.notes) == (fps == 60)


def test_a_contact_sheet_keeps_few_of_many_frames(tmp_path: Path) -> None:
    writer = ContactSheet(tmp_path / "a.png", 30)
    for number in range(5000):
        writer.add(np.full((8, 8, 3), number % 256, np.uint8))
        assert len(writer._kept) <= 49
    writer.finish()
    assert writer.notes == ["24 of 5000 frames, with their numbers"]


def test_a_warning_of_the_simulator_is_one_line(envs: Path) -> None:
    (envs / "warns.py").write_text(
        "import warnings\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Warns(CartPoleEnv):\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n"
        "        warnings.warn('an old simulator')\n"
    )
    python = TARGETS["py312-gymnasium14"].python()
    entry = ENTRY.format("Warns-v0", python, 'entry_point = "warns:Warns"\npythonpath = ["."]')
    (envs / "envs.toml").write_text(entry)
    command = [sys.executable, "-m", "gym_service", "record", "Warns-v0", "-o", "a.gif", "--steps", "1"]
    done = subprocess.run(command, cwd=envs, capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if "waiting for" not in line] == ["UserWarning: an old simulator"]


def test_an_env_that_cannot_be_seeded_is_recorded_unless_a_seed_is_asked_for(envs: Path) -> None:
    python = TARGETS["py312-gymnasium14"].python()
    entry = ENTRY.format("Odd-v0", python, f'entry_point = "odd_forms:SeedlessEnv"\npythonpath = ["{ENVS}"]')
    (envs / "envs.toml").write_text(entry)
    command = [sys.executable, "-m", "gym_service", "record", "Odd-v0", "-o", "a.trace", "--steps", "2"]
    done = subprocess.run(command, cwd=envs, capture_output=True, text=True, check=False)
    assert (done.returncode, files(envs)) == (0, {"a.trace"}), done.stderr
    done = subprocess.run([*command, "--seed", "0"], cwd=envs, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "this env cannot be seeded" in done.stderr
