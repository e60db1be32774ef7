"""What unauthenticated connections cost a client: the latency of its steps, alone and beside 200 of them.

    python -m benchmarks.pending_clients [--blocks 30] [--block-ms 300]

The blocks are taken in turn. The pending clients are in a process of their own. A block begins once the server has
rejected those over its limit, except where they connect while it is timed. The client has CartPole, over TCP and TLS.
Knows gym-service's command line, ``make`` and where tokens and certificates are made. Python 3.10 and up.
"""

import argparse
import contextlib
import secrets
import select
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.children import Child, python_of, started
from benchmarks.interleaved import Step, quartiles, ratios, time_in_turn
from benchmarks.stepping import stepping

COUNT = 200
# Those who may be without a proof at a time; the others are sent away (MAX_PENDING of the listener).
STAY = 8
DRIP_S = 1.0
ALONE = "alone"
SILENT, DRIPPING, COMING = KINDS = "silent", "dripping", "coming"
TITLES = {
    ALONE: "alone",
    SILENT: f"beside {COUNT} that say nothing",
    DRIPPING: f"beside {COUNT} that say a byte a second",
    COMING: f"while {COUNT} come",
}
PATIENCE_S = 30.0
# Where nobody says how wide the screen is.
FILE_WIDTH = 110


# -- the pending clients -----------------------------------------------------------------------------------------------


class Crowd:
    """Connections that prove nothing."""

    def __init__(self, host: str, port: int) -> None:
        self._where = host, port
        self._socks: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: None)
        self._thread.start()

    def come(self, kind: str) -> None:
        """Be there; where they are ``coming``, be on the way."""
        self._over.clear()
        self._thread = threading.Thread(target=self._drip if kind == DRIPPING else self._connect)
        if kind == COMING:
            self._thread.start()
            return
        self._connect()
        self._until_sent_away()
        if kind == DRIPPING:
            self._thread.start()

    def go(self) -> None:
        self._over.set()
        if self._thread.ident:
            self._thread.join()
        for sock in self._socks:
            sock.close()
        self._socks = []

    def _connect(self) -> None:
        for _ in range(COUNT):
            self._socks.append(socket.create_connection(self._where, PATIENCE_S))

    def _until_sent_away(self) -> None:
        """Until no more are left than may be."""
        poll = select.poll()
        for sock in self._socks:
            poll.register(sock, select.POLLRDHUP)
        while len(self._socks) > STAY:
            gone = {fd for fd, _ in poll.poll(PATIENCE_S * 1000)}
            if not gone:
                raise TimeoutError("they were not sent away")
            for sock in [sock for sock in self._socks if sock.fileno() in gone]:
                poll.unregister(sock)
                self._socks.remove(sock)
                sock.close()

    def _drip(self) -> None:
        for byte in b"gymsvcC1":
            for sock in self._socks:
                with contextlib.suppress(OSError):
                    sock.send(bytes([byte]))
            if self._over.wait(DRIP_S):
                return


def crowd(host: str, port: int) -> None:
    """Run pending clients on order: a kind on each line of standard input, an empty line to disconnect them."""
    there = Crowd(host, port)
    print("ready", flush=True)
    for line in sys.stdin:
        there.come(line.strip()) if line.strip() else there.go()
        print("done", flush=True)
    there.go()


# -- the client --------------------------------------------------------------------------------------------------------


@dataclass
class Beside:
    """A contender: the client's steps beside some crowd. Takes each step's own time."""

    step: Step
    kind: str
    crowd: Child
    steps_us: list[float] = field(default_factory=list)

    def block(self, calls: int) -> float:
        """The median of so many steps, times their number: what came between two of them counts in ``steps_us``."""
        if self.kind != ALONE:
            self._order(self.kind)
        taken = []
        for _ in range(calls):
            begun = time.perf_counter()
            self.step()
            taken.append(time.perf_counter() - begun)
        if self.kind != ALONE:
            self._order("")
        self.steps_us += [taken_s * 1e6 for taken_s in taken]
        return statistics.median(taken) * calls

    def _order(self, word: str) -> None:
        self.crowd.tell(word)
        self.crowd.line()


@contextmanager
def contenders(secured: bool) -> Iterator[dict[str, Beside]]:
    """One client of one server that stays, beside each crowd."""
    import gym_service

    with tempfile.TemporaryDirectory(prefix="gym-bench-") as name, contextlib.ExitStack() as stack:
        options, keys = _proofs(Path(name), secured)
        run = python_of("gym_service", "run", "--python", sys.executable, "--tcp", "127.0.0.1:0", *options)
        server = stack.enter_context(started(run))
        address = server.line()
        stack.callback(server.process.terminate)
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        pending = stack.enter_context(started(python_of("benchmarks.pending_clients", "--crowd", host, port)))
        pending.line()
        env = stack.enter_context(gym_service.make("CartPole-v1", address=address, **keys))
        step = stepping(env)
        yield {kind: Beside(step, kind, pending) for kind in (ALONE, *KINDS)}


def _proofs(folder: Path, secured: bool) -> tuple[list[str], dict[str, Any]]:
    """What the server and the client are told of the token, and of the certificate."""
    from gym_service_launcher.net import tls

    token = folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    options, keys = ["--token-file", str(token)], {"token_file": str(token)}
    if secured:
        subprocess.run(shlex.split(tls.HOW_TO_MAKE_ONE), cwd=folder, check=True, capture_output=True)
        cert, key = folder / "cert.pem", folder / "key.pem"
        options += ["--tls-cert", str(cert), "--tls-key", str(key)]
        keys["tls_sha256"] = tls.Certificate(cert, key).fingerprint
    return options, keys


def table(blocks: int, block_s: float) -> None:
    """Measure, and show."""
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    shown = Table(title=f"one step of CartPole, µs; {blocks} blocks of each, in turn")
    for heading in ("client", "pending", "median", "99 of 100", "÷ alone", "quartiles"):
        shown.add_column(heading, justify="left" if heading in ("client", "pending") else "right")
    for said, secured in (("tcp", False), ("tcp+tls", True)):
        with contenders(secured) as beside, console.status(f"{said}: {blocks} blocks of each"):
            _warm(beside)
            timings = time_in_turn({kind: one.block for kind, one in beside.items()}, blocks=blocks, block_s=block_s)
        for kind, one in beside.items():
            ratio = ratios(timings[kind], timings[ALONE])
            low, high = quartiles(ratio)
            slow = statistics.quantiles(one.steps_us, n=100)[98]
            figures = f"{statistics.median(one.steps_us):.0f}", f"{slow:.0f}", f"{statistics.median(ratio):.2f}"
            shown.add_row(said, TITLES[kind], *figures, f"{low:.2f} to {high:.2f}")
    console.print(shown)


def _warm(beside: dict[str, Beside]) -> None:
    for one in beside.values():
        one.block(100)
        one.steps_us.clear()


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["--crowd"]:
        crowd(words[1], int(words[2]))
        return 0
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pending_clients", description="What pending clients cost a client."
    )
    parser.add_argument("--blocks", type=int, default=30, help="of each (default 30)")
    parser.add_argument("--block-ms", type=float, default=300.0, help="how long a block is (default 300)")
    arguments = parser.parse_args(words)
    table(arguments.blocks, arguments.block_ms / 1000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
