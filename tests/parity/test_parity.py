"""Parity: through gym-service, bit for bit and type for type what the simulator returns in its own interpreter."""

import itertools
from functools import cache
from pathlib import Path

import pytest
from support import plays, remote
from support.paths import REPOSITORY
from support.plays import Moments, assert_same
from support.serving import certified, running
from support.targets import TARGETS, Target

from gym_service.testing import trajectory_diff
from gym_service.testing.in_target import trajectory

PARITY = [name for name, target in TARGETS.items() if target.kind == "parity"]
SHORT_STEPS = 80
ENDS = ("py36-gym021", "py313-gymnasium14")
# The oldest client plays with the oldest and the newest target alone.
MARKS = {name: [] if name in ENDS else [pytest.mark.slow] for name in PARITY}
# These targets have the same library as one of the others, with another Python: the long form plays all with them.
LIKE_OTHERS = (
    "py37-gym021",
    "py38-gym021",
    "py39-gym026",
    "py310-gymnasium026",
    "py310-gymnasium029",
    "py312-gymnasium14",
)


def marks_of(target: str, play: str) -> list[pytest.MarkDecorator]:
    is_long = target in LIKE_OTHERS and play not in ("camera", "cartpole")
    return [*MARKS[target], *([pytest.mark.long] if is_long else [])]


CASES = [
    pytest.param(target, play, marks=marks_of(target, play), id=f"{target}-{play}")
    for target in PARITY
    for play in plays.jobs_for(target)
]

# The oldest supported client, with a numpy before 2.0; its versions are those of constraints-oldest.txt.
OLDEST_CLIENT = Target(
    "client-oldest",
    "3.10",
    f"gymnasium==0.29.1 numpy==1.21.6 cloudpickle==2.0.0 rich==12.0.0 tomli==2.0.0 --editable {REPOSITORY}",
)


@cache
def inside(target: str) -> dict[str, Moments]:
    """The runs inside the target, made once for all comparisons with them."""
    plans = plays.jobs_for(target)
    return dict(zip(plans, plays.in_process(TARGETS[target].python(), list(plans.values())), strict=True))


@pytest.mark.parametrize(("target", "play"), CASES)
def test_what_a_remote_env_gives_is_what_the_env_gives_inside_its_interpreter(target: str, play: str) -> None:
    python = TARGETS[target].python()
    assert_same(remote.played(plays.jobs_for(target)[play], python), inside(target)[play])


@pytest.mark.parametrize("target", [pytest.param(name, marks=MARKS[name]) for name in PARITY])
def test_over_stdio_it_is_the_same(target: str) -> None:
    python = TARGETS[target].python()
    plan = plays.jobs_for(target)["camera"]
    plan["actions"] = plan["actions"][:SHORT_STEPS]
    ours = remote.played(plan, python, transport="stdio")
    assert len(ours) > SHORT_STEPS
    assert_same(ours, inside(target)["camera"][: len(ours)])


# The oldest and the newest target; the others, with all jobs, in the long form.
OVER = [
    pytest.param(target, way, marks=[] if target in ENDS else pytest.mark.long)
    for target in PARITY
    for way in ("unix path", "tcp", "tcp+tls")
]


@pytest.mark.parametrize(("target", "way"), OVER)
def test_by_a_server_that_stays_it_is_the_same(
    target: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))  # a user without a token
    python = TARGETS[target].python()
    options: list[str | Path] = ["--allow-import", "--pythonpath", remote.ENVS]
    where: dict[str, str] = {}
    if way == "tcp+tls":
        own = certified(tmp_path)
        options += own.options()
        where["tls_sha256"] = own.sha256
    with running(python, *options, unix="" if way == "unix path" else None) as serving:
        for play, plan in plays.jobs_for(target).items():
            if target in ENDS:
                if play not in ("camera", "cartpole"):
                    continue
                plan["actions"] = plan["actions"][:SHORT_STEPS]
            ours = remote.played(plan, None, address=serving.address, **where)
            assert len(ours) > SHORT_STEPS // 2
            assert_same(ours, inside(target)[play][: len(ours)])


@pytest.mark.parametrize("target", ENDS)
def test_a_client_with_numpy_1_exchanges_everything(target: str) -> None:
    python = TARGETS[target].python()
    names = ("cartpole", "camera")
    plans = [plays.jobs_for(target)[name] for name in names]
    played = plays.run_script(remote.__file__, OLDEST_CLIENT.python(), python, plans, str(python))
    for name, ours in zip(names, played, strict=True):
        assert_same(ours, inside(target)[name])


def test_the_play_holds_what_real_simulators_return() -> None:
    """So that parity covers enough: some bridge between interpreters was seen to lose each of these."""
    lines = ["%s: %s: %s %s" % tuple(record) for record in inside("py313-gymnasium14")["camera"]]
    for piece in ("nan", "-inf", "-0.0", ">i4", "<f2", "<M8[D]", "'debug'", "numpy scalar |b1", "None", "frozenset"):
        assert any(piece in line for line in lines), piece
    orders = {tuple(part.split("'")[1] for part in group) for group in _observation_keys(lines)}
    assert ("state", "pixels") in orders


def _observation_keys(lines: list[str]) -> list[list[str]]:
    keys = [line for line in lines if ": $.observation['" in line]
    return [list(group) for _, group in itertools.groupby(keys, lambda line: line.partition(":")[0])]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ((1,), [1]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_the_measure_itself_tells_types_and_orders_apart(one: object, other: object) -> None:
    theirs, ours = ([("", *item) for item in trajectory.items(value)] for value in (one, other))
    assert trajectory_diff.first(theirs, ours)
