"""The compliance kit: it reports each deliberate fault of a simulator in its own words, and passes correct ones."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.paths import ENVS
from support.targets import TARGETS

from gym_service.errors import ConfigError
from gym_service.testing import CHECKS, CheckFailed, Finding, check_service_env

# Gymnasium 0.29 loads gym_service wherever it is installed, so with it no process is bare.
pytestmark = pytest.mark.slow

HERE = {"python": sys.executable, "pythonpath": [str(ENVS)]}


def outcomes(findings: tuple[Finding, ...]) -> dict[str, str]:
    return {finding.check: finding.outcome for finding in findings}


def checked(wrong: str, *checks: str, **given: Any) -> dict[str, Finding]:
    """The findings about a simulator with this fault, by the check's name. Ends in CheckFailed or not."""
    chosen = {"steps": 20, "seeds": (3,)} | given
    kwargs = {"wrong": wrong, **chosen.pop("kwargs", {})}
    given = {"imports": ["unfaithful"], "kwargs": kwargs, **HERE, **chosen}
    message = ""
    try:
        found = check_service_env("Unfaithful-v0", checks=checks, **given)
    except CheckFailed as error:
        found, message = error.findings, str(error)
    failed = [f"{finding.check}: {finding.text}" for finding in found if finding.outcome == "failed"]
    assert message == ("Unfaithful-v0: " + "\n".join(failed) if failed else "")
    return {finding.check: finding for finding in found}


WRONG = {
    "pixel": (
        "parity",
        "step 17 of seed 3: $.observation['pixels'][4, 5, 0]: 12 in the simulator, 13 here\n  try: ",
    ),
    "state": ("parity", "step 0 of seed 3: $.observation['state'][1]: 0.0 in the simulator, -0.0 here"),
    "reward_type": ("parity", "step 0 of seed 3: $.reward: float 2.5 in the simulator, numpy.float32 2.5 here"),
    "dtype": (
        "parity",
        "$.observation['state']: an array of float32 (2,) in the simulator, an array of float64 (2,) here",
    ),
    "key_order": ("parity", "step 0 of seed 3: $.info: dict ['a', 'b'] in the simulator, dict ['b', 'a'] here"),
    "lock": ("parity", "$.info['lock']: _thread.lock in the simulator, gym_service.protocol.values.Opaque"),
    "no_form": (
        "parity",
        "step 0 of seed 3: $.observation is dict ['pixels', 'state'] in the simulator, raised gym",
    ),
    "raises_there": ("parity", "in the simulator, raised ValueError: five is too many here"),
    "space": ("spaces", "action_space: $.n: int 3 in the simulator, int 4 here"),
    "cannot_be_made_there": ("parity", "cannot be made: EnvValueError: no licence"),
    "options": (
        "options",
        "a reset with options: $: tuple 2 items in the simulator, raised TypeError: no options here",
    ),
    "outside": ("observations", "step 17 of seed 3: $.observation['state'][1] is 9.5, outside of -9.0 to 9.0\n  try: "),
    "of_another_dtype": (
        "observations",
        "step 0 of seed 3: $.observation['state'] is an array of float64 (2,), its space has float32 (2,)",
    ),
    "of_other_keys": (
        "observations",
        "step 0 of seed 3: $.observation has the keys ['pixels', 'stat'], its space ['pixels', 'state']",
    ),
    "no_array": (
        "observations",
        "step 0 of seed 3: $.observation['state'] is no array but of type list, its space has float32 (2,)",
    ),
    "frame": ("render", "$.frame[1, 2, 0]: 0 in the simulator, 1 here"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_behind_the_bridge_is_named(wrong: str) -> None:
    check, words = WRONG[wrong]
    found = checked(wrong, "spaces" if check == "spaces" else "parity", check)
    assert found[check].outcome == "failed"
    assert words in found[check].text


def test_what_has_no_form_is_said_once_with_the_advice_that_helps() -> None:
    found = checked("no_form", "parity", "observations", "render")
    assert "CannotCross: $.observation['state'] is a _thread.lock" in found["parity"].text
    assert found["parity"].text.endswith("try: what has a form on the wire: numbers, texts, arrays, lists, dicts")
    for name in ("observations", "render"):
        assert found[name] == Finding(name, "skipped", "without parity nothing can be said of it")


BROKEN = {
    "segfaults": "without gym-service the simulator died: killed by SIGSEGV (signal 11)\n    Fatal Python error: Segm",
    "raises": "without gym-service the simulator raised after step 3 of seed 3: ValueError: five is too many",
    "crashes": "without gym-service the simulator died: exit code 7\n    last words",
    "cannot_be_made": "in its own interpreter the env cannot be made: ValueError: no licence\n    Traceback",
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_what_is_wrong_with_the_simulator_itself_is_said_to_be_so(wrong: str) -> None:
    found = checked(wrong, *CHECKS)
    assert BROKEN[wrong] in found.pop("simulator").text
    assert {finding.outcome for finding in found.values()} == {"skipped"}


def test_what_is_raised_in_the_first_play_of_several_is_placed_there() -> None:
    found = checked("raises", "parity", seeds=(3, 4))
    assert "raised after step 3 of seed 3: ValueError" in found["simulator"].text
    assert "raised in the first reset: ValueError" in checked("raises_at_once", "parity")["simulator"].text


def test_a_simulator_that_differs_from_itself_is_reported_as_such() -> None:
    found = checked("unseeded", "determinism", "parity")
    text = found["determinism"].text
    assert text.startswith(
        "the simulator itself is not deterministic, its plays in two bare processes differ: step 0 of"
    )
    assert "$.info['noise'][0]: 0." in text
    assert found["parity"] == Finding(
        "parity", "passed", f"{found['parity'].text.split()[0]} values are of the same types"
    )
    allowed = checked("unseeded", "determinism", "parity", "options", deterministic=False)
    assert [allowed[name].outcome for name in ("determinism", "parity", "options")] == ["skipped", "passed", "skipped"]


def test_types_are_compared_where_numbers_are_not() -> None:
    found = checked("dtype", "parity", deterministic=False)
    assert "an array of float32 (2,) in the simulator, an array of float64 (2,) here" in found["parity"].text


def test_plays_that_end_at_different_steps_are_compared_by_kinds_of_moments() -> None:
    found = checked("unseeded_ends", "parity", deterministic=False, seeds=(3, 4))
    assert found["parity"].outcome == "passed", found["parity"].text


def test_a_simulator_that_cannot_render_here_is_not_to_blame() -> None:
    found = checked("cannot_render", "render")["render"]
    assert found.outcome == "skipped"
    assert "RuntimeError: no display" in found.text
    there = checked("cannot_render", "parity", render_mode="rgb_array")
    assert "the simulator raised after step 0 of seed 3: RuntimeError: no display" in there["simulator"].text


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[tuple[Path, list[subprocess.Popen[bytes]]]]:
    """A pipe, and the processes that are started with each mark written to it."""
    pipe, answer, started = tmp_path / "marks", tmp_path / "marks.started", list[subprocess.Popen[bytes]]()
    os.mkfifo(pipe)
    os.mkfifo(answer)

    def listen() -> None:
        while (mark := pipe.read_text().strip()) != "end":
            environ = {**os.environ, "GYM_SERVICE_CHECK": mark}
            started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environ))
            answer.write_text("started")

    thread = threading.Thread(target=listen)
    thread.start()
    yield pipe, started
    pipe.write_text("end")
    thread.join()
    for process in started:
        with contextlib.suppress(BrokenPipeError):
            process.communicate(b"\n")


def test_a_process_that_is_left_behind_is_named(starter: tuple[Path, list[subprocess.Popen[bytes]]]) -> None:
    path, started = starter
    found = checked("leaves_a_process", "close", kwargs={"path": str(path)})["close"]
    assert found.outcome == "failed"
    assert "after close() these processes of the simulator still run:" in found.text
    assert f"    {started[-1].pid} {sys.executable}" in found.text


@pytest.mark.parametrize("target", ["py36-gym021", "py310-gymnasium029"])
def test_a_sound_simulator_passes_everything(target: str) -> None:
    lines: list[str] = []
    python = str(TARGETS[target].python())
    checks = [name for name in CHECKS if name != "observations"]  # its observations have a key more than their space
    where = {"python": python, "imports": ["camera_env"], "pythonpath": [str(ENVS)]}
    found = check_service_env("Camera-v0", steps=30, checks=checks, progress=lines.append, **where)
    assert outcomes(found) == dict.fromkeys(checks, "passed")
    assert lines == [str(finding) for finding in found]
    with pytest.raises(CheckFailed, match=r"has the keys \['state', 'pixels', 'debug'\], its space"):
        check_service_env("Camera-v0", steps=1, checks=["observations"], **where)


def test_observations_in_their_space_pass() -> None:
    assert checked("", "observations")["observations"] == Finding(
        "observations", "passed", "21 lie in the observation space"
    )


def test_entry_points_limits_wrappers_actions_and_options() -> None:
    found = check_service_env(
        "of no registry",
        entry_point="camera_env:CameraEnv",
        wrappers=["recorder:Recorder"],
        max_episode_steps=4,
        size=16,
        actions=[{"move": np.zeros(7, np.float32), "grip": 1, "switches": np.array([1, 0, 1, 1], np.int8)}] * 10,
        options={"goal": (1.5, None, [np.int8(3)])},
        checks=["spaces", "parity"],
        **HERE,
    )
    assert outcomes(found) == {"simulator": "passed", "spaces": "passed", "parity": "passed"}
    assert found[0].text.endswith("2 seeds, 20 steps")


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need Gymnasium 1.0")
@pytest.mark.slow
def test_a_simulator_that_is_a_vector_env() -> None:
    kwargs = {"num_envs": 3, "vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": "SameStep"}}
    given: dict[str, Any] = {"checks": ["spaces", "parity"], "vectorized": True, "steps": 40, **HERE}
    found = check_service_env("CartPole-v1", kwargs=kwargs, **given)
    assert outcomes(found) == {"simulator": "passed", "spaces": "passed", "parity": "passed"}
    # Its spaces are batched, and so are the values that are compared.
    assert "Box and MultiDiscrete" in [finding.text for finding in found]


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot be checked: its simulator lives elsewhere \(address = 'tcp://"):
        check_service_env("CartPole-v1", address="tcp://127.0.0.1:1")
    with pytest.raises(ConfigError, match="cannot be handed a callable"):
        check_service_env("CartPole-v1", wrappers=[dict], **HERE)
    with pytest.raises(ValueError, match="no such check: parties; there are simulator, "):
        check_service_env("CartPole-v1", checks=["parties"], **HERE)
    with pytest.raises(ValueError, match="nothing to play"):
        check_service_env("CartPole-v1", seeds=(), **HERE)


def test_the_command() -> None:
    command = [sys.executable, "-m", "gym_service.testing", "Unfaithful-v0", "--python", sys.executable]
    command += ["--import", "unfaithful", "--pythonpath", str(ENVS), "--seed", "3", "--steps", "20", "--only", "parity"]
    done = subprocess.run([*command, "--kwargs", '{"wrong": "pixel"}'], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    simulator, parity, hint = done.stdout.splitlines()
    assert simulator.startswith("passed  simulator: gymnasium ")
    assert parity == "failed  parity: " + WRONG["pixel"][1].splitlines()[0]
    assert "  try: " in hint
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    wrong = subprocess.run([*command, "--python", "./absent"], capture_output=True, text=True, timeout=120)
    assert wrong.returncode == 2
    assert "absent does not exist" in wrong.stderr
