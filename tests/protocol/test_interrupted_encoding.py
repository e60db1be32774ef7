"""A signal handler raises while the encoder runs code of a value's own class: the user gets that exception."""

import functools
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from gym_service.protocol.encoder import Encoder
from gym_service.protocol.values import bounded_repr

LIMIT_S = 10.0


class Late(ValueError):
    """The exception that the handler raises."""


def wait_for_the_handler() -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        pass


class Slow(dict[str, Any]):
    def items(self) -> Any:
        wait_for_the_handler()
        return super().items()

    def __iter__(self) -> Any:
        wait_for_the_handler()
        return super().__iter__()

    def __repr__(self) -> str:
        wait_for_the_handler()
        return ""


class Handlers:
    def raise_late(self, *_: object) -> None:
        raise Late

    def __call__(self, *_: object) -> None:
        raise Late


def raise_late(*_: object) -> None:
    raise Late


@pytest.mark.parametrize("act", [lambda: Encoder().add(Slow(a=1), "$"), lambda: bounded_repr(Slow(a=1))])
@pytest.mark.parametrize(
    "handler",
    [raise_late, Handlers().raise_late, Handlers(), functools.partial(raise_late, 1)],
    ids=["function", "method", "callable", "partial"],
)
def test_what_a_handler_raises_is_not_taken_for_what_the_value_raises(
    act: Callable[[], Any], handler: Callable[..., None]
) -> None:
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Late):
            act()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_the_value_raises_is_still_caught() -> None:
    class Odd(dict[str, Any]):
        def __repr__(self) -> str:
            raise Late

    assert bounded_repr(Odd()) == "<repr failed: Late>"
