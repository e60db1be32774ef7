"""Replays of traces: equal if nothing was changed; otherwise the first difference is named."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.opened import opened
from support.paths import ENVS
from support.targets import TARGETS

import gym_service
from gym_service.errors import ConfigError, GymServiceError, ServerCrashed, TraceError
from gym_service.protocol.value_digest import RollingDigest
from gym_service.traces.comparison import Replayed
from gym_service.traces.replay import replay
from gym_service.traces.trace_file import Row, TraceReader, TraceWriter

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("in_process", [False, True], ids=["through the bridge", "in process"])
STEPS = 200
SIMULATORS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "cartpole": ("py312-gymnasium14", "CartPole-v1", "", {}),
    "cartpole of gym 0.21": ("py36-gym021", "CartPole-v1", "", {}),
    "cartpole of gym 0.25, rendered": ("py38-gym025", "CartPole-v1", "", {"render_mode": "rgb_array"}),
    "pusht": ("pusht", "gym_pusht/PushT-v0", "gym_pusht", {"obs_type": "pixels_agent_pos"}),
    "bullet": ("bullet-gym021", "HalfCheetahBulletEnv-v0", "pybullet_envs", {}),
}
REAL = {"pusht", "bullet"}
ALL = [pytest.param(name, marks=pytest.mark.real if name in REAL else []) for name in SIMULATORS]


def given(target: str, module: str = "") -> dict[str, Any]:
    keys: dict[str, Any] = {"python": str(TARGETS[target].python()), "pythonpath": [str(ENVS)]}
    return keys | ({"imports": [module]} if module else {})


def record(path: Path, name: str, *, full: bool = False, steps: int = STEPS) -> dict[str, Any]:
    """Record a run. Returns the keys that say where its simulator is."""
    target, env_id, module, kwargs = SIMULATORS[name]
    keys = given(target, module)
    env = gym_service.record_trace(gym_service.make(env_id, **keys, kwargs=kwargs), path, full=full)
    try:
        env.action_space.seed(3)
        env.reset(seed=7)
        for number in range(steps):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if kwargs.get("render_mode") and number % 100 == 0:
                env.render()
            if terminated or truncated:
                env.reset()
    finally:
        env.close()
    return keys


def change(path: Path, edited: Callable[[int, Row], Row]) -> Path:
    """The same trace with changed rows. ``edited`` receives the number of a row and the row."""
    changed = path.with_name("changed.trace")
    with TraceReader(path) as reader:
        rows = list(reader)
        writer = TraceWriter(changed, reader.header)
    for number, row in enumerate(rows):
        row = edited(number, row)
        failure = {"raised": row.raised} if row.raised else {"ended": row.ended} if row.ended else None
        fourth = [row.results] if row.results is not None else [failure] if failure else []
        writer.write(*row[:3], *fourth)
    assert reader.end
    writer.finish(reader.end)
    return changed


def with_action(at: int, new: Callable[[Any], Any]) -> Callable[[int, Row], Row]:
    """Change the action of one step, by its number."""
    seen = iter(range(10**6))
    return lambda _, row: (
        row._replace(arguments=(new(row.arguments[0]),)) if row.call == "step" and next(seen) == at else row
    )


@pytest.mark.parametrize("name", ALL)
def test_a_trace_plays_again_alike_in_process_and_through_the_bridge(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.trace"
    keys = record(path, name)
    for in_process in (False, True):
        calls: list[int] = []
        found = replay(path, in_process=in_process, progress=calls.append, **keys)
        assert (found.difference, found.steps, found.notes) == ("", STEPS, [])
        assert found.calls == calls[-1] > STEPS
    other = (lambda action: 1 - action) if name.startswith("cartpole") else (lambda action: action * 0 + 0.5)
    found = replay(change(path, with_action(57, other)), in_process=name not in REAL, **keys)
    assert found.difference.startswith("step 57 (step "), found.difference
    assert "$.observation differs: a" in found.difference
    assert found.at is not None
    assert found.calls == found.at + 1


@BOTH
def test_a_full_trace_names_the_element_that_differs(tmp_path: Path, in_process: bool) -> None:
    path = tmp_path / "a.trace"
    keys = record(path, "cartpole", full=True, steps=30)
    assert not replay(path, in_process=in_process, **keys).difference
    found = replay(change(path, with_action(3, lambda action: 1 - action)), in_process=in_process, **keys)
    assert found.difference.startswith("step 3 (step 3 of episode 0, call 4): $.observation[1]: ")
    assert found.difference.endswith(" here; the same: reward, terminated, truncated, info")


@BOTH
def test_a_changed_seed_and_changed_options_are_named(tmp_path: Path, in_process: bool) -> None:
    path = tmp_path / "a.trace"
    keys = record(path, "cartpole", steps=3)
    for arguments in ((8, None), (7, {"low": -0.01, "high": 0.01})):
        changed = change(
            path, lambda number, row, given=arguments: row._replace(arguments=given) if number == 0 else row
        )
        assert replay(changed, in_process=in_process, **keys).difference.startswith("reset 0 (call 0): $.observation")


CHANGED_RESULTS: dict[str, tuple[tuple[Any, ...], str]] = {
    "a number": ((1.5, False, False, {}), "$.reward: float 1.5 recorded, float 1.0 here; the same: observation, term"),
    "its type": ((np.float32(1), False, False, {}), "$.reward: numpy.float32 1.0 recorded, float 1.0 here"),
    "a flag": ((1.0, True, False, {}), "$.terminated: True recorded, False here"),
    "several": ((2.5, True, False, {}), "$.reward: float 2.5 recorded, float 1.0 here; terminated too; the same: obs"),
    "an info": ((1.0, False, False, {"a": 1}), "$.info: a short value recorded, a short value here"),
}


@pytest.mark.parametrize("name", CHANGED_RESULTS)
def test_numbers_are_told_also_of_a_trace_of_digests(tmp_path: Path, name: str) -> None:
    """The test changes a recording as if other results had been recorded."""
    path = tmp_path / "a.trace"
    keys = record(path, "cartpole", full=True, steps=2)
    results, words = CHANGED_RESULTS[name]

    def edited(number: int, row: Row) -> Row:
        if number != 1 or row.results is None:
            return row
        return row._replace(summary=RollingDigest().add(b"step", (row.results[0], *results)), results=None)

    assert words in replay(change(path, edited), **keys).difference


@BOTH
def test_what_the_simulator_raised_is_compared(tmp_path: Path, in_process: bool) -> None:
    path = tmp_path / "a.trace"
    keys = given("py312-gymnasium14", "misbehaving")
    with opened("Misbehaving-v0", "misbehaving") as env:
        gym_service.record_trace(env, path)
        env.reset(seed=1)
        for what in ("ValueError", "KeyError", "two arguments"):
            env.misbehave("step", what)
            with pytest.raises(GymServiceError):
                env.step(1)
        env.step(2)
    assert not replay(path, in_process=in_process, **keys).difference
    other = change(
        path,
        lambda number, row: row._replace(arguments=("misbehave", ("step", "TypeError"), {})) if number == 1 else row,
    )
    words = "step 0 (step 0 of episode 0, call 2): ValueError: no such thing recorded, TypeError: of another type here"
    assert replay(other, in_process=in_process, **keys).difference == words
    fine = change(path, lambda number, row: row._replace(arguments=("echo", (None,), {})) if number == 1 else row)
    assert replay(fine, in_process=in_process, **keys).difference.endswith("no such thing recorded, an answer here")


@BOTH
def test_assigned_attributes_calls_and_renders_are_made_again(tmp_path: Path, in_process: bool) -> None:
    path = tmp_path / "a.trace"
    keys = given("py312-gymnasium14", "misbehaving")
    with opened("Misbehaving-v0", "misbehaving", render_mode="rgb_array") as env:
        gym_service.record_trace(env, path, full=True)
        env.reset(seed=1)
        env.count = 7
        env.step(1)
        env.render()
        env.echo({"x": np.arange(3)})
        assert not env.unwrapped.set_wrapper_attr("nobody_has_it", 1, force=False)
    assert not replay(path, in_process=in_process, **keys).difference
    changed = change(path, lambda number, row: row._replace(arguments=("count", 8, True)) if number == 1 else row)
    assert (
        "$.observation['count']: int 8 recorded, int 9 here"
        in replay(changed, in_process=in_process, **keys).difference
    )


def test_a_crash_is_played_up_to_its_call_and_then_crashes_again(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    keys = given("py312-gymnasium14", "misbehaving")
    with opened("Misbehaving-v0", "misbehaving", restart="on-reset") as env:
        gym_service.record_trace(env, path)
        env.reset(seed=1)
        env.misbehave("step", "os._exit")
        with pytest.raises(ServerCrashed):
            env.step(2)
        env.reset(seed=1)
        env.step(0)
    through = replay(path, **keys)
    assert (through.difference, through.calls) == ("", 5)
    alone = replay(path, in_process=True, **keys)
    assert not alone.difference
    (note,) = alone.notes
    assert note.startswith("the recording ended in its last step: ServerCrashed: ")
    assert "; so did this process: " in note
    assert note.endswith("exit code 7")
    fine = change(path, lambda number, row: row._replace(arguments=("echo", (None,), {})) if number == 1 else row)
    assert "ServerCrashed" in replay(fine, **keys).difference


def test_functions_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    with opened("Misbehaving-v0", "misbehaving", python=sys.executable) as env:
        gym_service.record_trace(env, path)
        env.reset(seed=1)
        env.call("operator:truth")
    keys = given("py312-gymnasium14", "misbehaving")
    with pytest.raises(
        TraceError, match=r"call 1 of .* imports 'operator:truth' in the simulator\n  try: --allow-import"
    ):
        replay(path, **keys)
    for in_process in (False, True):
        assert not replay(path, in_process=in_process, allow_import=True, **keys).difference
    no_name = change(path, lambda number, row: row._replace(arguments=(None, (), {})) if number == 1 else row)
    with pytest.raises(TraceError, match=r"call 1 of .* is a function that travelled as byte code"):
        replay(no_name, allow_import=True, **keys)


def test_an_entry_of_the_users_says_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "envs.toml"
    entries = {"Pole-v1": "py312-gymnasium14", "Old-v1": "py36-gym021"}
    table = '[envs."{}"]\npython = "{}"\nid = "CartPole-v1"\n'
    file.write_text("".join(table.format(key, TARGETS[target].python()) for key, target in entries.items()))
    monkeypatch.setenv("GYM_SERVICE_ENVS", str(file))
    path = tmp_path / "a.trace"
    env = gym_service.record_trace(gym_service.make("Pole-v1"), path)
    env.reset(seed=1)
    env.close()
    assert replay(path).simulator == "gymnasium 1.4.0, Python 3.12.1, through the bridge"
    assert replay(path, against="Old-v1").difference.startswith("reset 0 (call 0): $.observation differs: an array of")
    with pytest.raises(ConfigError, match=r"no key 'Pol-v1'.*\n  try: 'Pole-v1'"):
        replay(path, against="Pol-v1")
    with pytest.raises(ConfigError, match="its simulator lives elsewhere"):
        replay(path, against="X-v0", address="tcp://127.0.0.1:1", in_process=True)


def test_a_trace_without_an_entry_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    record(path, "cartpole", steps=1)
    with pytest.raises(
        TraceError, match=r"recorded without an envs.toml, from CartPole-v1, .*\n  try: --against ENTRY"
    ):
        replay(path)


def test_a_broken_file_is_told_before_anything_is_started(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    keys = record(path, "cartpole", steps=2) | {"python": "/nowhere"}
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(TraceError, match="is cut off"):
        replay(path, **keys)
    path.write_bytes(whole[:-1] + b"?")
    with pytest.raises(TraceError, match="is spoilt"):
        replay(path, **keys)


def test_a_last_record_of_other_calls_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    keys = record(path, "cartpole", steps=2)
    with TraceReader(path) as reader:
        rows = list(reader)
        assert reader.end
        for end, text in (
            ({**reader.end, "steps": 9}, "counts other calls"),
            ({**reader.end, "digest": b""}, "digest"),
        ):
            writer = TraceWriter(path.with_name("b.trace"), reader.header)
            for row in rows:
                writer.write(*row[:3])
            writer.finish(end)
            with pytest.raises(TraceError, match=f"is spoilt: .*{text}"):
                replay(path.with_name("b.trace"), **keys)


def test_a_summary_that_is_none_is_a_difference(tmp_path: Path) -> None:
    """A file may contain anything; a replay compares it, and at most shows it."""
    path = tmp_path / "a.trace"
    keys = record(path, "cartpole", steps=2)
    for summary in (b"", b"12345678", b"12345678\x20", b"12345678\x06n\xff\xff\xff\xff?" * 3, b"12345678\x05i1234"):
        changed = change(path, lambda number, row, new=summary: row._replace(summary=new) if number == 1 else row)
        assert isinstance(found := replay(changed, **keys), Replayed)
        assert found.difference.startswith("step 0 ")
