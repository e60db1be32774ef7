"""Traces: what an env was asked, and a digest of what it gave, in a file that plays again. Python 3.10 and up.

    env = gym_service.record_trace(gym.make("gym_service/PushT-v0"), "run.trace")

``docs/trace-format.md`` describes the file. Public names of this package: ``record_trace``, ``TraceReader``,
``parity_hash``, ``deterministic_parity_hash``, ``NoFixedActions``, ``NotSeeded``.
"""

from gym_service.traces.actions import NoFixedActions
from gym_service.traces.parity import NotSeeded, deterministic_parity_hash, parity_hash
from gym_service.traces.recorder import TracedEnv, record_trace
from gym_service.traces.trace_file import Row, TraceReader

__all__ = [
    "NoFixedActions",
    "NotSeeded",
    "Row",
    "TraceReader",
    "TracedEnv",
    "deterministic_parity_hash",
    "parity_hash",
    "record_trace",
]
