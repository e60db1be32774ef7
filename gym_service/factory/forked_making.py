"""A fork while an env is made, as in a signal handler: the child that comes back to it gets a ForkedError.

The server is the parent's, and so are the descriptors that the child finds closed: whatever fails then says nothing
that helps. Knows processes. Never knows how an env is made. Imports nothing slow: the server is started later. Python
3.10 and up.
"""

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gym_service_launcher.standalone import interrupts

Given = ParamSpec("Given")
Made = TypeVar("Made")


def in_one_process(make: Callable[Given, Made]) -> Callable[Given, Made]:
    """A function that makes an env, and raises ForkedError for what fails in a child forked while it runs."""

    @functools.wraps(make)
    def made(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        process_id = os.getpid()
        try:
            return make(*args, **kwargs)
        except Exception as error:
            if os.getpid() == process_id or interrupts.is_from_handler(error):
                raise
            from gym_service.errors import ForkedError

            if isinstance(error, ForkedError):
                raise
            refuse_child(process_id, error)
            raise

    return made


def refuse_child(process_id: int, cause: BaseException | None = None) -> None:
    """Raise ForkedError where this is a forked child of the process that has begun to make the env."""
    if os.getpid() != process_id:
        from gym_service.client import error_mapping

        raise error_mapping.forked(process_id) from cause
