"""A display without a screen (Xvfb), and the image on it. Python 3.10."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

WIDTH, HEIGHT = 900, 800
# The header of Xvfb's file (XWD, version 7): 32-bit numbers, big-endian; then the colours, 12 bytes each.
HEADER = struct.Struct(">25I")


class Screen:
    """A running Xvfb: its ``display`` (":7") and the image on it."""

    def __init__(self, display: str, file: Path) -> None:
        self.display = display
        self._file = file

    def picture(self) -> np.ndarray:
        """The present image, (height, width, 3) of uint8."""
        data = self._file.read_bytes()
        header = HEADER.unpack_from(data)
        size, width, height, line_bytes, colors = header[0], header[4], header[5], header[12], header[19]
        pixels = np.frombuffer(data, np.uint8, height * line_bytes, size + 12 * colors)
        return pixels.reshape(height, line_bytes // 4, 4)[:, :width, 2::-1].copy()


@contextmanager
def screen() -> Iterator[Screen]:
    """A screen that exists until the block ends. Without Xvfb it skips the test, or fails it on CI, which has Xvfb."""
    program = shutil.which("Xvfb")
    if program is None:
        missing = "Xvfb is missing (apt-get install xvfb)"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    with tempfile.TemporaryDirectory() as folder:
        read, write = os.pipe()
        argv = [
            program,
            "-displayfd",
            str(write),
            "-fbdir",
            folder,
            "-screen",
            "0",
            f"{WIDTH}x{HEIGHT}x24",
            "-nolisten",
            "tcp",
        ]
        with subprocess.Popen(argv, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
            os.close(write)
            with os.fdopen(read) as announced:
                number = announced.readline().strip()  # arrives when it accepts connections
            try:
                yield Screen(f":{number}", Path(folder) / "Xvfb_screen0")
            finally:
                server.terminate()
