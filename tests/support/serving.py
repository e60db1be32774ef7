"""Persistent servers in separate processes: what they print, and how they end.

Knows the command line of gym-service and pipes. Python 3.10 and up.
"""

import contextlib
import os
import queue
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from gym_service_launcher.net import handshake, same_host, tokens

from support.paths import REPOSITORY

COMMAND = (sys.executable, "-m", "gym_service")
# For what takes a second on an idle machine.
TIMEOUT_S = 60.0
# "At once": far below the 5 s of the handshake, even on a busy machine.
AT_ONCE_S = 1.0


class Serving:
    """A process that listens, and everything that it has printed so far, both streams together."""

    def __init__(self, argv: Sequence[str], cwd: Path = REPOSITORY, **given: Any) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(argv, cwd=cwd, text=True, **{**pipes, **given})
        self.lines: list[str] = []
        self._queue: queue.Queue[str] = queue.Queue()
        assert self.process.stdout
        assert self.process.stderr
        self._readers = [self._read(stream) for stream in (self.process.stdout, self.process.stderr)]
        self.address = ""

    def _read(self, stream: IO[str]) -> threading.Thread:
        def read() -> None:
            for line in stream:
                self._queue.put(line.rstrip("\n"))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def until(self, pattern: str) -> str:
        """The first line from here on that the pattern matches. Blocks until it is printed."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self.lines.append(self._queue.get(timeout=max(deadline - time.monotonic(), 0.0)))
            except queue.Empty:
                shown = "\n".join(self.lines)
                raise AssertionError(f"{pattern!r} was not printed within {TIMEOUT_S:g} s, but:\n{shown}") from None
            if re.search(pattern, self.lines[-1]):
                return self.lines[-1]

    def until_all(self, *patterns: str) -> None:
        """Block until each pattern has matched a line from here on, in any order.

        The lines of a server and those of the listener arrive through two pipes.
        """
        missing = list(patterns)
        while missing:
            line = self.until("|".join(f"(?:{pattern})" for pattern in missing))
            missing = [pattern for pattern in missing if not re.search(pattern, line)]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and wait until it ends. Returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(TIMEOUT_S)
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        while not self._queue.empty():
            self.lines.append(self._queue.get())
        return code


@contextmanager
def started(argv: Sequence[str], environ: Mapping[str, str] | None = None, **given: Any) -> Iterator[Serving]:
    """The process, once it has printed its address. ``environ`` and ``given`` go to its Popen."""
    serving = Serving(argv, env={**os.environ, **(environ or {})}, **given)
    address = r"^((?:tcp|unix)://\S+)$|listening at (tcp://\S+)"
    try:
        found = re.search(address, serving.until(address))
        assert found
        serving.address = found[1] or found[2]
        yield serving
    finally:
        if serving.process.poll() is None:
            serving.process.send_signal(signal.SIGINT)  # SIGTERM would wait for the clients of a failed test
        serving.ended()
        for stream in (serving.process.stdout, serving.process.stderr):
            assert stream
            stream.close()


@contextmanager
def running(
    python: str | Path = sys.executable,
    *options: str | Path,
    tcp: str = "127.0.0.1:0",
    unix: str | Path | None = None,
    **given: Any,
) -> Iterator[Serving]:
    """``gym-service run``; ``unix`` of "" means its default path."""
    where = ["--tcp", tcp] if unix is None else ["--unix", str(unix)] if unix else []
    argv = [*COMMAND, "run", "--python", str(python), *where, *map(str, options)]
    with started(argv, **given) as serving:
        yield serving


class Certified(NamedTuple):
    """A self-signed certificate, its key, and its fingerprint as openssl prints it."""

    cert: Path
    key: Path
    sha256: str

    def options(self) -> tuple[str, ...]:
        return ("--tls-cert", str(self.cert), "--tls-key", str(self.key))


def certified(folder: Path, name: str = "gym-service", *more: str) -> Certified:
    """A certificate made with openssl, as the docs say."""
    cert, key = folder / f"{name}.cert.pem", folder / f"{name}.key.pem"
    make = shlex.split("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj")
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    run([*make, f"/CN={name}", "-keyout", str(key), "-out", str(cert), *more])
    shown = run(["openssl", "x509", "-in", str(cert), "-noout", "-fingerprint", "-sha256"]).stdout
    return Certified(cert, key, shown.strip())


def venv_with(folder: Path, module: Path) -> Path:
    """The Python of a venv that has everything that this one has, and one more module."""
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    # Not only its path: an editable install is found by a .pth file, and those count only in site folders.
    (site / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    (site / module.name).write_bytes(module.read_bytes())
    return folder / "bin/python"


def read_fifo(fifo: Path, process: "subprocess.Popen[bytes]") -> str:
    """The text that is written to it. Blocks until then; the process that causes the writing must not end before."""
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)) as opened:
        while not select.select([opened], [], [], 0.1)[0]:
            assert process.poll() is None, "it ended, and nothing was written"
        os.set_blocking(opened.fileno(), True)
        return opened.read()


def connected(address: str) -> socket.socket:
    """A bare connection, which sends nothing by itself."""
    if address.startswith("unix://"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT_S)
        sock.connect(address.removeprefix("unix://"))
        return sock
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), TIMEOUT_S)


def proven(address: str, preamble: bytes = same_host.NO_SHARED_MEMORY) -> socket.socket:
    """A bare connection that is authenticated as this process's user, and has said that it shares no memory.

    Its server sends the preamble first, too.
    """
    sock = connected(address)
    token = handshake.UNIX_PEER_KEY if address.startswith("unix://") else tokens.of_client(None)
    handshake.perform(sock, handshake.Handshake("client", token))
    sock.settimeout(TIMEOUT_S)
    sock.sendall(preamble)
    return sock


def rest_of(sock: socket.socket) -> tuple[bytes, float]:
    """Everything that arrives until the other side closes, and how long that took, in seconds."""
    begun = time.monotonic()
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(4096):
            received += data
    return received, time.monotonic() - begun


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def environment_without_screen() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
