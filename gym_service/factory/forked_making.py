"""A fork while an env is made, as in a signal handler: the child that comes back to it gets a ForkedError.

The server is the parent's, and so are the descriptors that the child finds closed: whatever fails then says nothing
that helps. Knows processes. Never knows how an env is made. Imports nothing slow: the server is started later. Python
3.10 and up.
"""

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")


def refused_in_child(make: Callable[Given, Made]) -> Callable[Given, Made]:
    """Have a function that makes an env raise ForkedError for what fails in a child forked while it runs.

    A child that shares nothing with its parent yet may make an env of its own.
    """

    @functools.wraps(make)
    def made(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        process_id = os.getpid()
        try:
            return make(*args, **kwargs)
        except Exception as error:
            if os.getpid() == process_id:
                raise
            from gym_service_launcher.standalone import interrupts

            from gym_service.errors import ForkedError

            if isinstance(error, ForkedError) or interrupts.is_from_handler(error):
                raise
            text = f"process {process_id} was forked while it made this env, whose server is not that of its child"
            raise ForkedError(f"{text} {os.getpid()}\n  try: make an env in the child") from error

    return made
