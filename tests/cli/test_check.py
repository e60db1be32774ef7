"""gym-service check on entries that work: its rows, its JSON and the lock; and causes that it must not report.

test_broken_entries.py has the entries that do not work.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.config import envs_file, lock
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.interpreters import causes
from gym_service_launcher.interpreters.evidence import Evidence, how_to_install
from support import polling
from support.opened import TARGET
from support.paths import ENVS
from support.serving import running
from support.targets import TARGETS

from gym_service.cli import lock as cli_lock
from gym_service.testing import leaked_processes
from gym_service.testing.env_under_test import env_under_test


def check(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "gym_service", "check", *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an envs.toml of one entry that works, and one that works and prints."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GYM_SERVICE_ENVS", raising=False)
    python = TARGETS[TARGET].python()
    (tmp_path / "envs.toml").write_text(
        f'[envs.Pole]\npython = "{python}"\nid = "CartPole-v1"\noutput = "show"\n'
        f'[envs.Loud]\npython = "{python}"\npythonpath = ["{ENVS}"]\nimports = ["misbehaving"]\n'
        'id = "Misbehaving-v0"\noutput = "show"\nenviron = { MISBEHAVE = "print in C" }\n'
    )
    return tmp_path


@pytest.mark.slow
def test_an_env_that_cannot_be_seeded_is_checked_without_a_seed(lab: Path) -> None:
    with (lab / "envs.toml").open("a") as file:
        file.write(f'[envs.Odd]\npython = "{TARGETS[TARGET].python()}"\npythonpath = ["{ENVS}"]\n')
        file.write('entry_point = "odd_forms:SeedlessEnv"\n')
    ran = check(lab, "--json", "Odd")
    rows = {row["check"]: row for row in json.loads(ran.stdout)["entries"][0]["rows"]}
    assert ran.returncode == 0, ran.stdout
    assert rows["reset"]["outcome"] == "warned"
    assert "; reset(seed=1): this env cannot be seeded: its reset() takes no seed, and " in rows["reset"]["text"]
    assert rows["reset"]["advice"].startswith("kwargs = { rand_seed = 1 }")
    assert (rows["steps"]["outcome"], rows["parity"]["text"]) == ("passed", "not compared: it cannot be seeded")
    assert "lock" not in rows

    locked = locked_by_hand(lab)
    assert locked["hash"] is None
    why = "no two plays can be compared: reset(seed=1): this env cannot be seeded: its reset() takes no seed, and "
    assert locked["no_hash"].startswith(why)
    rows = {row["check"]: row for row in json.loads(check(lab, "--json", "Odd").stdout)["entries"][0]["rows"]}
    text = f"not compared: envs.lock has no parity hash: {locked['no_hash']}"
    assert (rows["lock"]["outcome"], rows["lock"]["text"]) == ("skipped", text)

    # A hash of an older gym-service, which hashed the refusal.
    locked_by_hand(lab, hash=f"play1:{64 * '0'}", no_hash="")
    ran = check(lab, "--json", "Odd")
    rows = {row["check"]: row for row in json.loads(ran.stdout)["entries"][0]["rows"]}
    assert (ran.returncode, rows["lock"]["outcome"], rows["lock"]["advice"]) == (1, "failed", "gym-service lock")
    assert rows["lock"]["text"].startswith(f"the play has no parity hash: {why}")


def locked_by_hand(folder: Path, **changed: Any) -> dict[str, Any]:
    """Lock the folder's entries, change the play of the last one, and return it."""
    file = envs_file.load(folder / "envs.toml")
    *_, entry = file.entries.values()
    assert isinstance(entry, Entry)
    found, no_hash = cli_lock.parity_of(entry)
    play = {"hash": found, "no_hash": no_hash, **changed}
    envs = {entry.name: lock.LockedEnv(cli_lock.play_digest(entry), "", play["hash"], play["no_hash"])}
    lock.write(lock.path_of(file.path), lock.LockFile({}, envs))
    return play


@pytest.mark.slow
def test_the_rows_of_an_entry_that_works_as_text_and_as_json(lab: Path) -> None:
    ran = check(lab, "gym_service/Pole")
    assert (ran.returncode, ran.stderr) == (0, "")
    labels = [line.split()[:2] for line in ran.stdout.splitlines() if line.startswith("  ")]
    assert [mark for mark, _ in labels] == ["✓"] * len(labels)
    assert [label for _, label in labels] == [
        *("interpreter", "versions", "make", "reset", "steps", "spaces", "parity", "render", "left")
    ]
    assert "bit for bit" in ran.stdout
    ran = check(lab, "--json", "Pole", "Loud")
    pole, loud = json.loads(ran.stdout)["entries"]  # stdout holds only JSON, whatever a simulator prints
    assert (ran.returncode, pole["ok"], loud["ok"]) == (0, True, True)
    steps = next(row for row in pole["rows"] if row["check"] == "steps")
    assert steps["facts"]["steps"] == 100
    assert 0 < steps["facts"]["step_median_s"] < 1
    ran = check(lab, "Ploe")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.endswith("it has: Pole, Loud\n  try: 'Pole'\n")


@pytest.mark.slow
def test_results_of_another_form_than_gymnasiums_are_warned_of(lab: Path) -> None:
    with (lab / "envs.toml").open("a") as file:
        file.write(f'[envs.Odd]\npython = "{TARGETS[TARGET].python()}"\npythonpath = ["{ENVS / "broken"}"]\n')
        file.write('entry_point = "arms:OldResults"\n')
    ran = check(lab, "--json", "Odd")
    (odd,) = json.loads(ran.stdout)["entries"]
    warned = {row["check"]: row for row in odd["rows"] if row["outcome"] == "warned"}
    assert (ran.returncode, list(warned)) == (0, ["reset", "steps", "render"])
    returned = "; reset() returned one value (ndarray), where Gymnasium's returns (observation, info)"
    assert warned["reset"]["text"].endswith(returned)
    assert "; step() returned a tuple of 3, where Gymnasium's returns (obs" in warned["steps"]["text"]
    assert warned["render"]["text"].startswith(
        "render() returned None for rgb_array, where Gymnasium's returns an array"
    )


@pytest.mark.slow
def test_nothing_stays_warm_after_a_check(lab: Path) -> None:
    keys = {"python": str(TARGETS[TARGET].python()), "id": "CartPole-v1"}
    with (lab / "envs.toml").open("a") as file:
        file.write(f'[envs.Kept]\npython = "{keys["python"]}"\nid = "CartPole-v1"\nkeep_warm_s = 600\n')
    ran = check(lab, "Kept")
    assert ran.returncode == 0, ran.stdout
    subject = env_under_test("CartPole-v1", {**keys, "keep_warm_s": 600}, print)
    mark = leaked_processes.new_mark()
    with subject.opened(mark) as env:
        env.reset(seed=0)
    polling.until(lambda: not leaked_processes.find_marked(mark), "the end of its processes")


@pytest.mark.slow
def test_a_simulator_that_makes_a_vector_env_is_compared_with_one(lab: Path) -> None:
    python = TARGETS["py312-gymnasium14"].python()
    (lab / "envs.toml").write_text(f'[envs.Pool]\npython = "{python}"\nid = "CartPole-v1"\nvectorized = true\n')
    ran = check(lab, "--json", "Pool")
    rows = {row["check"]: row for row in json.loads(ran.stdout)["entries"][0]["rows"]}
    assert rows["parity"]["outcome"] == "passed"
    assert "bit for bit" in rows["parity"]["text"]
    assert rows["steps"]["outcome"] == "passed"
    assert [row for row in rows.values() if row["outcome"] == "failed"] == []


@pytest.mark.slow
def test_the_play_is_compared_with_the_lock(lab: Path) -> None:
    text = (lab / "envs.toml").read_text()
    (lab / "envs.toml").write_text(text[: text.index("[envs.Loud]")])
    lock = [sys.executable, "-m", "gym_service", "lock"]
    subprocess.run(lock, cwd=lab, check=True, capture_output=True)
    assert "✓ lock         the play is the one of envs.lock" in check(lab).stdout
    path = lab / "envs.lock"
    locked = json.loads(path.read_text())
    found = locked["envs"]["Pole"]["hash"]
    path.write_text(path.read_text().replace(found, found[:-1] + ("0" if found[-1] != "0" else "1")))
    ran = check(lab)
    assert ran.returncode == 1
    assert "✗ lock         what the simulator computes has changed since gym-service lock" in ran.stdout


@pytest.mark.slow
def test_nothing_is_claimed_of_a_simulator_whose_processes_are_out_of_reach(lab: Path) -> None:
    with running() as serving:
        (lab / "envs.toml").write_text(f'[envs.Pole]\naddress = "{serving.address}"\nid = "CartPole-v1"\n')
        (pole,) = json.loads(check(lab, "--json").stdout)["entries"]
    outcomes = {row["check"]: row["outcome"] for row in pole["rows"]}
    assert outcomes == {
        **dict.fromkeys(("interpreter", "parity"), "skipped"),
        **dict.fromkeys(("make", "reset", "steps", "spaces", "render"), "passed"),
    }


# -- the table of causes -----------------------------------------------------------------------------------------------


def test_a_warning_of_the_simulator_is_not_taken_for_the_cause() -> None:
    """dm_control warns about a missing display at import, and fails for other reasons."""
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "/venv/lib/glfw/__init__.py", line 1\n'
        "    warn('X11: The DISPLAY environment variable is missing')  # libEGL.so.1: cannot open shared object\n"
        "ValueError: bad action\n"
    )
    entry = Entry("X-v0", address="tcp://127.0.0.1:1")
    assert causes.explain(Evidence(entry, "ValueError", "bad action", traceback)) is None
    chained = traceback.replace("ValueError: bad action", "OSError: libEGL.so.1: cannot open shared object file")
    found = causes.explain(Evidence(entry, "RuntimeError", "cannot render", chained))
    assert found
    assert found.cause == "the library libEGL.so.1 of OpenGL is not installed on this machine"


@pytest.mark.parametrize(
    ("type_name", "message", "cause"),
    [
        (
            "ImportError",
            "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /venv/physics.so)",
            "a package of the interpreter of tcp://a:1 was built for a newer Linux than this one, which has no "
            "GLIBC_2.34",
        ),
        (
            "ServerStartError",
            "Fatal Python error: Illegal instruction",
            "the simulator uses instructions that this processor does not have (such as AVX)",
        ),
        (
            "ImportError",
            "/venv/physics.so: undefined symbol: _ZN5torch3jit",
            "/venv/physics.so was built for another version of a library of the interpreter of tcp://a:1: "
            "it needs _ZN5torch3jit",
        ),
        (
            "OSError",
            "/venv/physics.so: invalid ELF header",
            "/venv/physics.so is damaged, or built for another kind of machine",
        ),
        (
            "OSError",
            "libcuda.so.1: cannot open shared object file: No such file or directory",
            "the simulator asks for an NVIDIA GPU, and its libraries find none that they can use on this machine",
        ),
        ("KeyError", "'DISPLAY'", "there is no display here, and the simulator wants to open a window"),
        ("KeyError", "'ROBOT_HOME'", None),  # of any dict, as long as the traceback does not name os
        ("FileNotFoundError", "[Errno 2] No such file or directory: '/data/arm.xml'", None),
        ("TypeError", "'NoneType' object is not subscriptable", None),
    ],
)
def test_causes_that_the_text_alone_decides(type_name: str, message: str, cause: str | None) -> None:
    found = causes.explain(Evidence(Entry("X-v0", address="tcp://a:1"), type_name, message))
    assert (found.cause if found else None) == cause


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"python": "3.10", "requires": ()}, 'add "numpy<2" to requires'),
        (
            {"python": "3.10", "requires": (), "file": Path("/x/envs.toml"), "interpreter": "sim"},
            'add "numpy<2" to requires of [interpreters.sim], then: gym-service sync',
        ),
        (
            {"python": "3.10", "requires": (), "file": Path("/x/envs.toml")},
            'add "numpy<2" to requires of [envs."X-v0"], then: gym-service sync',
        ),
        ({"python": "/venv/bin/python"}, "uv pip install --python /venv/bin/python 'numpy<2'"),
        ({"python": "/opt/sim", "command": ("ssh", "h")}, "/opt/sim -m pip install 'numpy<2', on the remote side"),
        ({"address": "tcp://h:1"}, "install numpy<2 where that server runs"),
    ],
)
def test_a_package_is_installed_where_the_entry_says_what_is(keys: dict[str, object], told: str) -> None:
    entry = Entry("X-v0", **keys)  # type: ignore[arg-type]
    assert how_to_install(entry, "numpy<2", Path("/venv/bin/python")) == told
