"""After each test no thread, no shared memory and no descriptor of the guardian is left.

That is besides what tests/conftest.py looks for everywhere.
"""

import gc
import operator
import threading
from collections.abc import Iterator

import pytest
from support import polling, procfs

# What a test of large arrays, or the first of a kind, may leave with malloc and with what is imported.
MORE_MEMORY_BYTES = 64 * 2**20


@pytest.fixture(autouse=True)
def as_before(request: pytest.FixtureRequest, nothing_left_behind: None) -> Iterator[None]:
    """The threads, the shared memory and the descriptors are what they were, of this process and of its guardian."""
    before, memory_bytes, failed = held(), procfs.memory_bytes(), request.session.testsfailed
    yield
    gc.collect()
    try:
        # Less is no leak: the traceback of a test that failed before this one held what it had.
        polling.until(lambda: all(map(operator.le, held(), before)), "what there was before", 5.0)
    except AssertionError:
        if request.session.testsfailed > failed:
            return  # its traceback holds what it had
        pytest.fail(f"before the test (threads, descriptors of the guardian, maps): {before}; after it: {held()}")
    assert procfs.memory_bytes() - memory_bytes <= MORE_MEMORY_BYTES


def held() -> tuple[int, int, int]:
    shared = [line for line in procfs.mappings() if is_shared(line)]
    return threading.active_count(), len(procfs.open_fds(procfs.guardian_of())), len(shared)


def is_shared(line: str) -> bool:
    """Whether a line of /proc/self/maps is of memory that another process could see."""
    return line.split()[1].endswith("s")
