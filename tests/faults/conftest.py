"""After each test, checks that it has left no thread, shared memory or descriptor of the guardian.

tests/conftest.py makes the checks for all tests.
"""

import gc
import operator
import threading
from collections.abc import Iterator

import pytest
from support import interrupts, polling, procfs

# The memory that malloc and new modules may keep after a test of large arrays, or after the first test of a kind.
MORE_MEMORY_BYTES = 64 * 2**20


@pytest.fixture(autouse=True)
def as_before(request: pytest.FixtureRequest, nothing_left_behind: None) -> Iterator[None]:
    """Compare the threads, the shared memory and the descriptors of this process and its guardian with those before."""
    before, memory_bytes, failed = held(), procfs.memory_bytes(), request.session.testsfailed
    yield
    interrupts.forget_handled()
    gc.collect()
    try:
        # Fewer is no leak: the traceback of an earlier failed test held its objects.
        polling.until(lambda: all(map(operator.le, held(), before)), "what there was before", 5.0)
    except AssertionError:
        if request.session.testsfailed > failed:
            return  # the traceback holds the test's objects
        pytest.fail(f"before the test (threads, descriptors of the guardian, maps): {before}; after it: {held()}")
    assert procfs.held_memory_bytes() - memory_bytes <= MORE_MEMORY_BYTES


def held() -> tuple[int, int, int]:
    shared = [line for line in procfs.mappings() if is_shared(line)]
    return threading.active_count(), len(procfs.open_fds(procfs.guardian_of())), len(shared)


def is_shared(line: str) -> bool:
    """Whether a line of /proc/self/maps is memory that another process could see."""
    return line.split()[1].endswith("s")
