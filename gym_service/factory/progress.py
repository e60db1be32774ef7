"""log: how the library tells the user what takes its time.

Never knows what a line is about. Python 3.10 and up. It loads the logger (``logger.py``) with the first line: a start
that logs nothing does not pay for logging.
"""


def log(line: str) -> None:
    """Log a line to the logger "gym_service", at the level INFO."""
    from gym_service.factory import logger  # imports logging

    logger.info(line)
