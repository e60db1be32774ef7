"""The library's logger, "gym_service": lines that tell the user what takes its time, at the level INFO.

Knows the logging module. Never knows what a line is about. Python 3.10 and up.

A program that does not configure logging sees the lines on stderr, as they are. Once it does, its configuration holds:
where a handler is on this logger or on the root logger, this module shows nothing by itself, and the program's levels
decide. ``setLevel(logging.WARNING)`` or a NullHandler on this logger silences it in either case.
"""

import logging
import sys

from gym_service_launcher.standalone import interrupts


class StderrHandler(logging.Handler):
    """Writes a record to stderr where no handler of the program takes it."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is None or is_configured():
            return
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except (OSError, ValueError) as error:  # stderr is closed, or its reader has gone: that must not fail a call
            interrupts.raise_if_from_handler(error)


LOG = logging.getLogger("gym_service")
_stderr_handler = StderrHandler()
LOG.addHandler(_stderr_handler)


def is_configured() -> bool:
    """Whether a handler of the program takes what this logger logs."""
    logger: logging.Logger | None = LOG
    while logger:
        if any(handler is not _stderr_handler for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def info(line: str) -> None:
    """Log a line."""
    # Where nothing is configured, the level does not count: the one that the root logger begins with hides INFO.
    has_level = LOG.level or is_configured()
    if LOG.isEnabledFor(logging.INFO) if has_level else LOG.manager.disable < logging.INFO:
        LOG.handle(LOG.makeRecord(LOG.name, logging.INFO, __file__, 0, line, (), None))
