"""Reading /proc where no descriptor is free: what is unknown for now is neither remembered nor taken for ended."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gym_service_launcher.standalone import procfs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


@contextmanager
def no_descriptor() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)  # of those that are free
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_unknown_for_now_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "_checked", (0, False))
    with no_descriptor():
        assert not procfs.is_ours()
        assert procfs.process(os.getpid()) is None
        with pytest.raises(OSError, match="Too many open files"):
            procfs.children()
    assert procfs.is_ours()
    assert procfs.process(os.getpid()) is not None


def test_children_are_never_left_out_for_want_of_a_descriptor() -> None:
    """By both ways: a kernel without CONFIG_PROC_CHILDREN has only the second."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        me = str(os.getpid())
        assert child.pid in procfs.children()
        assert sorted(procfs._children_by_parent(me)) == sorted(procfs.children())
        for read in (procfs.children, lambda: procfs._children_by_parent(me), lambda: procfs._present_stat("/proc/1/")):
            with no_descriptor(), pytest.raises(OSError, match="open files") as caught:
                read()
            assert caught.value.errno == errno.EMFILE
        child.communicate(b"\n")
