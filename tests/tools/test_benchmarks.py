"""The benchmarks measure what they claim: all contenders give the same observations, and every verdict has its reason.

Knows the package ``benchmarks`` and real processes. Never checks how fast anything is.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.paths import REPOSITORY

from benchmarks import __main__ as command
from benchmarks import commands, criteria, floors, memory, pending_clients, profile, record, running, workloads
from benchmarks.criteria import CRITERIA, Criterion, Verdict
from benchmarks.interleaved import repeated, time_in_turn
from benchmarks.record import Found, Memory, Record
from benchmarks.workloads import ASYNC, IN_PROCESS, LOOKING, OURS, SB3, TORCHRL, WORKLOADS

# The contenders need Gymnasium 1.1. They do not depend on the client's version.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def nothing_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GYM_BENCH_SB3", "GYM_BENCH_TORCHRL"):
        monkeypatch.setenv(name, "/nowhere/python")


def test_the_command_runs_what_does_the_same(tmp_path: Path) -> None:
    """In a separate process: multiprocessing keeps the shared memory of AsyncVectorEnv until its process ends."""
    names = ["cartpole", "busy", "cameras", "vector8", "first_ready", "first_ready_light", "work"]
    argv = [sys.executable, "-m", "benchmarks", *names, "--blocks", "1", "--block-ms", "0", "--outputs", str(tmp_path)]
    ran = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    check_kept(names, tmp_path, ran.stdout)
    assert "1 blocks; 30 are needed" in ran.stdout
    assert Image.open(tmp_path / "benchmarks.png").size[0] == 1800


@pytest.mark.long
def test_the_command_runs_what_starts_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workloads, "MANY", 2)
    monkeypatch.setattr(workloads, "MANY_WORKERS", 2)
    monkeypatch.setenv("GYM_BENCH_IMPORT_S", "0")
    names = ["start", "warm", "prefork", "open"]
    assert command.main([*names, "--blocks", "1", "--block-ms", "0", "--outputs", str(tmp_path)]) == 0
    check_kept(names, tmp_path, capsys.readouterr().out)
    assert command.main(["--show", "--outputs", str(tmp_path)]) == 0
    check_kept(names, tmp_path, capsys.readouterr().out)


def check_kept(names: list[str], folder: Path, shown: str) -> None:
    kept = json.loads((folder / "benchmarks.json").read_text())
    assert list(kept["found"]) == names
    for name, found in kept["found"].items():
        assert found["title"] in shown
        timed = {contender for contender, blocks_us in found["blocks_us"].items() if len(blocks_us) == 1}
        assert timed | set(found["missing"]) == set(WORKLOADS[name]().contenders)
        assert set(found["missing"]) <= {SB3, TORCHRL, workloads.PREFORKED}
    assert {one["text"] for one in kept["criteria"]} >= {one.text for one in CRITERIA}


def test_contenders_that_see_something_else_are_not_timed() -> None:
    ours, theirs = count(), count()
    steps = {"ours": lambda: np.array([next(ours)]), "theirs": lambda: np.array([min(next(theirs), 3)])}
    with pytest.raises(running.Different, match="at call 4, theirs saw another observation than ours"):
        running.compare(steps)


def test_a_contender_that_cannot_be_had_is_named() -> None:
    only = {SB3: WORKLOADS["cartpole"]().contenders[SB3]}
    with ExitStack() as stack:
        ready, missing = running.opened(workloads.Workload("none", only), stack)
    assert not ready
    assert missing[SB3] == "GYM_BENCH_SB3=/nowhere/python: No such file or directory"


def test_a_wrong_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["cartpol"])
    assert "there is no workload 'cartpol'" in capsys.readouterr().err


def test_pending_clients_come_and_are_rejected_while_a_client_steps() -> None:
    with pending_clients.contenders(secured=False) as beside:
        assert list(beside) == list(pending_clients.TITLES)
        for one in beside.values():
            assert one.block(20) > 0
            assert len(one.steps_us) == 20


def test_memory_is_sampled_on_both_sides() -> None:
    told: list[int] = []
    found = memory.measured("CartPole", memory.CARTPOLE, 80, told.append)
    assert found.steps == tuple(range(0, 81, 2)) == (0, *told)
    assert len(found.client_bytes) == len(found.server_bytes) == 41
    assert min(found.client_bytes + found.server_bytes) > 2**20


def test_a_profile_has_both_sides() -> None:
    step_us, sides = profile.profiled(profile.SIMULATORS["cartpole"], 0.2)
    assert step_us > 0
    assert any("cartpole.py" in file for file, _, _ in sides["server"])
    assert any(file.startswith(("client/", "transport/")) for file, _, _ in sides["client"])


@pytest.mark.parametrize("waiting", sorted(floors.WAITING))
def test_a_round_trip_comes_back(waiting: str) -> None:
    with floors.ping_pong(waiting, core=min(os.sched_getaffinity(0))) as ping:
        assert [ping() for _ in range(3)] == [b"x" * 64] * 3


# -- how it is timed ---------------------------------------------------------------------------------------------------


def test_every_block_is_kept_and_contenders_take_turns() -> None:
    order: list[str] = []

    def taking(name: str) -> Callable[[int], float]:
        def block(calls: int) -> float:
            order.append(name)
            return calls * (1e-6 if name == "quick" else 1e-3)

        return block

    timings = time_in_turn({"quick": taking("quick"), "slow": taking("slow")}, blocks=30, block_s=0.01)
    rounds = order[-60:]
    assert all({one, other} == {"quick", "slow"} for one, other in zip(rounds[::2], rounds[1::2], strict=True))
    assert {rounds[place] for place in range(0, 60, 2)} == {"quick", "slow"}
    assert timings["quick"].blocks_us == pytest.approx((1.0,) * 30)
    assert timings["slow"].blocks_us == pytest.approx((1000.0,) * 30)


def test_a_repeated_call_is_called_so_often() -> None:
    called: list[None] = []
    assert repeated(lambda: called.append(None))(7) > 0
    assert len(called) == 7


# -- what is made of it ------------------------------------------------------------------------------------------------


def verdict_of(ours: list[float], control: list[float], text: str = "CartPole over unix ÷ AsyncVectorEnv") -> Any:
    found = Found("CartPole", 1, (), {OURS: tuple(ours), ASYNC: tuple(control)})
    return next(one for one in criteria.judged(Record({"cartpole": found})) if one.text == text)


@pytest.mark.parametrize(
    ("ours_us", "expected", "meets_aim"),
    [(12.0, Verdict.PASS, True), (16.0, Verdict.PASS, False), (18.0, Verdict.FALL_SHORT, False)],
)
def test_a_ratio_is_held_against_its_bounds(ours_us: float, expected: Verdict, meets_aim: bool) -> None:
    found = verdict_of([ours_us] * 30, [100.0] * 30)
    assert (found.verdict, found.meets_aim) == (expected, meets_aim)
    assert found.ratio == pytest.approx(ours_us / 100)


def test_two_controls_are_added_round_by_round() -> None:
    blocks = {OURS: (44.0,) * 30, IN_PROCESS: (10.0, 14.0) * 15, LOOKING: (12.0, 8.0) * 15}
    text = "CartPole over unix ÷ (in-process + 64 bytes, looking)"
    judged = criteria.judged(Record({"cartpole": Found("CartPole", 1, (), blocks)}))
    found = next(one for one in judged if one.text == text)
    assert (found.verdict, found.meets_aim) == (Verdict.PASS, False)
    assert found.ratio == pytest.approx(2.0)
    del blocks[LOOKING]
    judged = criteria.judged(Record({"cartpole": Found("CartPole", 1, (), blocks)}))
    assert next(one for one in judged if one.text == text).verdict == Verdict.NOT_RUN


def test_ratios_are_taken_round_by_round() -> None:
    """Both medians are 60, although it was four times slower in all rounds but one."""
    control = [100.0 + index for index in range(30)]
    found = verdict_of([one * 0.2 for one in reversed(control)], control)
    assert found.ratio == pytest.approx(0.2, rel=0.05)
    assert found.ratio != pytest.approx(np.median([one * 0.2 for one in control]) / np.median(control), abs=1e-6)


@pytest.mark.parametrize(
    ("control", "because"),
    [([100.0] * 29, "29 blocks; 30 are needed"), ([100.0] * 29 + [201.0], "AsyncVectorEnv varied 2.0 times")],
)
def test_what_shows_nothing_is_inconclusive(control: list[float], because: str) -> None:
    found = verdict_of([1.0] * len(control), control)
    assert (found.verdict, found.because) == (Verdict.INCONCLUSIVE, because)


def test_speeds_are_the_other_way_round() -> None:
    faster = Criterion("faster", "cartpole", OURS, ASYNC, 4, 6, of_speeds=True)
    assert [faster.meets(ratio, faster.must) for ratio in (3.9, 4.0, 5.0)] == [False, True, True]
    blocks = {workloads.ONE_WORKER: (10.0,) * 30, ASYNC: (50.0,) * 30}
    judged = criteria.judged(Record({"vector8": Found("8", 8, (), blocks)}))
    found = next(one for one in judged if one.text == "8 CartPoles, env steps/s ÷ AsyncVectorEnv")
    assert (found.ratio, found.verdict) == (5.0, Verdict.PASS)


def test_a_criterion_without_its_contender_says_why() -> None:
    found = Found("workers", 1, (), {workloads.WORKER: (1.0,) * 30}, {workloads.PREFORKED: "not there yet"})
    judged = {one.text: one for one in criteria.judged(Record({"prefork": found}))}
    assert judged["16 workers, prefork ÷ one worker"].because == "not there yet"
    assert judged["CartPole over unix ÷ AsyncVectorEnv"].because == "project.py bench cartpole"
    assert {one.verdict for one in judged.values()} == {Verdict.NOT_RUN}


def test_every_criterion_names_contenders_that_there_are() -> None:
    for criterion in CRITERIA:
        assert {criterion.contender, criterion.control} <= set(WORKLOADS[criterion.workload]().contenders)


@pytest.mark.parametrize(
    ("bytes_a_step", "steps", "expected"),
    [(0, 10**6, Verdict.PASS), (16, 10**6, Verdict.FALL_SHORT), (0, 1000, Verdict.INCONCLUSIVE)],
)
def test_memory_must_be_flat(bytes_a_step: int, steps: int, expected: Verdict) -> None:
    counts = tuple(range(0, steps + 1, steps // 40))
    server = tuple(50 * 2**20 + (count > 0) * 2**22 + bytes_a_step * count for count in counts)
    kept = Memory("CartPole", counts, (60 * 2**20,) * len(counts), server)
    assert criteria.judged(Record({}, {"cartpole": kept}))[-1].verdict is expected


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = Found("CartPole", 8, (OURS,), {OURS: (1.0, 2.5)}, {SB3: "missing"}, {"cores": "2"})
    kept = Record({"cartpole": found}, {"cartpole": Memory("CartPole", (0, 1), (2, 3), (4, 5))})
    record.write(kept, [], tmp_path / "a.json")
    read = record.read(tmp_path / "a.json")
    assert read.found["cartpole"].timings == found.timings
    assert read.found["cartpole"].missing == found.missing
    assert read.memory["cartpole"].growth_bytes == kept.memory["cartpole"].growth_bytes
    assert record.read(tmp_path / "none.json") == Record()


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="no /proc/PID/schedstat")
def test_one_core_says_what_either_side_ran() -> None:
    argv = [sys.executable, "-m", "benchmarks.one_core", "--steps", "200"]  # it binds itself to one core
    ran = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    head, *rows = ran.stdout.splitlines()
    assert head.split()[-4:] == ["step", "client", "server", "switches"]
    assert [row.partition(",")[0] for row in rows] == ["bare", "gym-service", "bare", "gym-service"]
    for row in rows:
        took, client, server, _ = map(float, row.split()[-4:])
        assert 0 < client <= took * 1.1
        assert server > 0


@pytest.mark.slow
def test_the_commands_are_timed_against_an_empty_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["--blocks", "1"]) in (0, 1)  # whatever the ratios of one round are
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if any(name in line for name in (commands.HELP, commands.LIST))]) == 2
