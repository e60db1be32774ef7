"""The reset that ``compiled_call.py`` makes: of one env, without a seed, options or further arguments.

Knows the general form of a small array and of an empty info. Never knows how bytes travel. Never keeps an env alive.
Python 3.10 and up.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from gym_service.client.answers import result_of
from gym_service.client.compiled_call import NOT_COMPILED, compile_call
from gym_service.client.connection import Connection
from gym_service.protocol import messages
from gym_service.protocol.frames import HEADER_BYTES
from gym_service.protocol.plain_arrays import ArrayReader
from gym_service.protocol.results import EMPTY_INFO, RESET_WITHOUT_ARGUMENTS

# Returns what reset() returns, or NOT_COMPILED.
CompiledReset = Callable[[], Any]


def no_reset() -> Any:
    """The compiled reset of an env whose resets cannot be compiled, or are not yet."""
    return NOT_COMPILED


def compile_reset(connection: Connection, limit_s: float) -> CompiledReset:
    """The reset without arguments. Blocks and raises as ``Connection.call``."""
    if connection.encodes_images:
        return no_reset
    scratch = connection._channel.decoder.scratch
    read_array: Callable[[int], Any] = ArrayReader(scratch, HEADER_BYTES).read

    def read_small(end: int) -> Any:
        info_at = end - len(EMPTY_INFO)
        if info_at <= HEADER_BYTES or scratch[info_at:end] != EMPTY_INFO:
            return None
        observation = read_array(info_at - HEADER_BYTES)
        return None if observation is None else (observation, {})

    read = partial(result_of, count=2)
    call = compile_call(connection, messages.RESET, limit_s, read_small, read, answered_by=messages.RESULT)
    return partial(call, RESET_WITHOUT_ARGUMENTS, None)
