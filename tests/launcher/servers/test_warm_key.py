"""What decides who shares a warm fork server, besides what tests/client/test_keep_warm.py shows with programs."""

import signal
import sys

import pytest

if sys.platform == "linux":
    from gym_service_launcher.servers import warm_key

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="images are kept on Linux alone")


@pytest.mark.parametrize(("number", "is_inherited"), [(signal.SIGUSR1, True), (signal.SIGHUP, False)])
def test_signals_that_a_server_would_ignore(number: int, is_inherited: bool) -> None:
    before = warm_key._attributes()
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        assert (warm_key._attributes() != before) == is_inherited
    finally:
        signal.signal(number, handler)
    assert warm_key._attributes() == before


def test_signals_of_the_c_library_do_not_count() -> None:
    assert warm_key._ignored_signals(f"{1 << 31 | 1 << 32 | 1 << 24:016x}") == [signal.SIGXFSZ]
