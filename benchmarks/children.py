"""Processes that contenders start for themselves, and their end.

Knows subprocess. Never knows what they do. Standard library only, Python 3.10 and up.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
# For the end of a process whose work is done, in seconds. It is killed then.
PATIENCE_S = 5.0
SHOWN_CHARACTERS = 2000


class Missing(Exception):
    """This contender cannot be had here; the text says what is missing, and what to try."""


class Child:
    """A process, and lines both ways: through its standard input and output."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """The next line that it prints; blocks until then. Raises EOFError where it ends instead."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")


@contextmanager
def started(
    argv: Sequence[str], *, pass_fds: Sequence[int] = (), variables: dict[str, str] | None = None
) -> Iterator[Child]:
    """A process that ends when its standard input does, or else when it is told to.

    Raises:
        Missing: it ended before it said a line that was waited for; the text is what it said on standard error.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            pass_fds=pass_fds,
        )
        try:
            yield Child(process)
        except (EOFError, BrokenPipeError) as error:
            errors.seek(0)
            raise Missing(f"{' '.join(argv[:4])} ended: {errors.read()[-SHOWN_CHARACTERS:].strip()}") from error
        finally:
            _end(process)


def python_of(module: str, *words: str, python: str = sys.executable) -> list[str]:
    """The command that runs one of these modules."""
    return [python, "-m", module, *words]


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    assert process.stdout
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
