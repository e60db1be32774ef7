"""A memory limit of a control group, as in a container or a Slurm job: what it counts, and what it kills."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import polling
from support.clients import client
from support.opened import opened

from gym_service.errors import ServerCrashed

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

MIB = 2**20
ROOT = Path("/sys/fs/cgroup")


class Group:
    """A control group of the memory controller, version 1 or 2."""

    def __init__(self, folder: Path, *, is_v2: bool) -> None:
        self._folder = folder
        self._limit = folder / ("memory.max" if is_v2 else "memory.limit_in_bytes")
        self._used = folder / ("memory.current" if is_v2 else "memory.usage_in_bytes")

    def add(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid))

    def limit(self, size_bytes: int) -> None:
        """Set the limit. Swap would only make the kernel slower."""
        self._limit.write_text(str(size_bytes))

    @property
    def used_bytes(self) -> int:
        return int(self._used.read_text())


@pytest.fixture
def group() -> Iterator[Group]:
    is_v2 = (ROOT / "cgroup.controllers").exists()
    folder = (ROOT if is_v2 else ROOT / "memory") / f"gym-service-test-{os.getpid()}"
    try:
        folder.mkdir()
        made = Group(folder, is_v2=is_v2)
        made.limit(2**40)
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"needs root and a control group file system that can be written: {error}")  # no package brings it
    yield made
    for pid in (folder / "cgroup.procs").read_text().split():
        (ROOT / ("" if is_v2 else "memory") / "cgroup.procs").write_text(pid)
    folder.rmdir()


def test_a_simulator_above_its_limit_is_a_crash_whose_cause_is_named(group: Group) -> None:
    with opened("large", entry_point="large:LargeEnv", kwargs={"size_mib": 1}, max_message_mib=512) as env:
        group.add(env.unwrapped.target["pid"])
        group.limit(64 * MIB)
        with pytest.raises(ServerCrashed) as error:
            env.unwrapped.call("give", 400 * MIB)
    first = str(error.value).splitlines()[0]
    assert "died during call: killed by SIGKILL (signal 9); since its start the kernel killed " in first
    assert first.endswith("for lack of memory")
    advice = "a higher memory limit, or fewer envs at once; then make the env again; this one is closed"
    assert str(error.value).endswith(f"\n  try: {advice}")


PLAYING = """
from support.opened import opened
with opened("Growing", entry_point="growing:GrowingEnv") as env:
    hear()
    env.reset()
    for number in range(1, 41):
        assert (env.step(0)[0] == number).all()
    say("warm")
    hear()
    for number in range(41, 1500):
        assert (env.step(0)[0] == number).all()
        if number % 10 == 0:
            assert (env.render() == number % 256).all()
    say("played")
"""


def test_what_both_sides_share_and_keep_stays_below_a_limit(group: Group) -> None:
    """Shared memory counts for the group. Arrays whose size changes in each step once pinned 256 MiB."""
    with client(PLAYING) as running:
        for pid in running.family():
            group.add(pid)
        running.hears()
        assert running.says() == "warm"
        for pid in running.family():
            group.add(pid)
        group.limit(group.used_bytes + 48 * MIB)
        running.hears()
        assert running.says(120.0) == "played"
        assert running.end() == 0


def test_a_client_above_its_limit_takes_its_server_along(group: Group) -> None:
    program = """
    with faulty() as env:
        env.reset()
        say(env.target["pid"])
        hear()
        import numpy
        kept = numpy.ones(400 * 2**20, numpy.uint8)
    """
    with client(program) as running:
        server = int(running.says())
        group.add(running.pid)
        group.limit(64 * MIB)
        running.hears()
        assert running.end() == -9
        polling.until_dead([server])
