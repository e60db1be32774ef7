"""Frames over links: how many rendered frames a second arrive, by simulator, link and choice of ``frames``.

    python -m benchmarks.links [--links 100M] [--simulators pusht] [--frames raw,zlib] [--seconds 5]

Needs Linux, root, iproute2 and util-linux. Everything between is real: ``gym-service run``, TCP, the simulators. The
link is made here: two network namespaces, a TUN device in each, and a process between them that gives each packet its
time on a wire of that rate, and its delay, each way. Rejected: tc netem, which not every kernel has. A packet has 9,000
bytes, so that this process, which is Python, keeps up with 1 Gbit/s.

The namespaces have no names: they end with the process that holds them. Knows nothing of gym-service but its command
line and ``make``. Python 3.10 and up.
"""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).absolute().parent.parent
PACKET_BYTES = 9000
# Loopback addresses on devices that are none: gym-service run listens without TLS on loopback alone.
CLIENT, SERVER = "127.0.0.3", "127.0.0.2"
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
# A queue of a switch: what finds it full is dropped, and TCP heeds that.
QUEUE_S = 0.2
TIMEOUT_S = 120.0


class Link(NamedTuple):
    """``rate_bit_s`` each way, ``delay_s`` each way."""

    rate_bit_s: float
    delay_s: float
    said: str


# The delay is that of a round trip, half of it each way.
LINKS = {
    "1G": Link(1e9, 0.0001, "1 Gbit/s, 0.2 ms"),
    "100M": Link(100e6, 0.0025, "100 Mbit/s, 5 ms"),
    "20M": Link(20e6, 0.020, "20 Mbit/s, 40 ms"),
}
# The target of tests/support/targets.py; the id, its import, its keywords.
SIMULATORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pusht": ("gym_pusht/PushT-v0", "gym_pusht", {"obs_type": "state"}),
    "xarm": ("gym_xarm/XarmLift-v0", "gym_xarm", {"obs_type": "state"}),
    "metaworld": ("Meta-World/MT1", "metaworld", {"env_name": "reach-v3"}),
}


class Measured(NamedTuple):
    """What one client saw: frames a second, whether each was the simulator's, what ``auto`` chose."""

    frames_per_s: float
    size: str
    use_codec: bool | None


def missing() -> str:
    """What keeps links from being made here; empty where nothing does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "root on Linux is needed to make network namespaces"
    for program in ("ip", "nsenter"):
        if not shutil.which(program):
            return f"{program} is not installed (iproute2, util-linux)"
    return "" if os.path.exists("/dev/net/tun") else "/dev/net/tun is missing"


# -- the link ----------------------------------------------------------------------------------------------------------


@contextmanager
def linked(link: Link) -> Iterator[tuple[list[str], list[str]]]:
    """What to put before a command to run it at the client's end, and at the server's."""
    argv = [sys.executable, __file__, "--carry", str(link.rate_bit_s), str(link.delay_s)]
    carrier = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert carrier.stdout
        fds = carrier.stdout.readline().split()
        if len(fds) != 2:
            raise RuntimeError("the link could not be made; what is wrong stands above")
        yield tuple(["nsenter", f"--net=/proc/{carrier.pid}/fd/{fd}", "--"] for fd in fds)  # type: ignore[misc]
    finally:
        carrier.kill()
        carrier.communicate()


def carry(rate_bit_s: float, delay_s: float) -> None:
    """Make the two ends, say the descriptors that hold them, and carry packets until this process is ended."""
    ends = [_end(CLIENT, SERVER), _end(SERVER, CLIENT)]
    print(*[namespace for _, namespace in ends], flush=True)
    tuns = [tun for tun, _ in ends]
    ways = [_Way(tuns[0], tuns[1], rate_bit_s, delay_s), _Way(tuns[1], tuns[0], rate_bit_s, delay_s)]
    while True:
        wait_s = min(way.due_s for way in ways) - time.perf_counter()
        # Not poll(), which counts in milliseconds. The end of fd 0 is the end of the process that started this.
        if 0 in select.select([0, *tuns], [], [], min(max(wait_s, 0.0), 1.0))[0]:
            return
        for way in ways:
            way.take()
            way.give()


class _Way:
    """One direction: a queue, a wire of a rate, a delay."""

    def __init__(self, source: int, sink: int, rate_bit_s: float, delay_s: float) -> None:
        self.source = source
        self._sink = sink
        self._seconds_per_byte = 8 / rate_bit_s
        self._delay_s = delay_s
        self._packets: deque[tuple[float, bytes]] = deque()
        self._free_s = 0.0  # when the wire has sent all that it was given

    @property
    def due_s(self) -> float:
        return self._packets[0][0] if self._packets else float("inf")

    def take(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):  # then the other way has its turn
                packet = os.read(self.source, PACKET_BYTES + 64)
                now = time.perf_counter()
                begins_s = max(now, self._free_s)
                if begins_s - now > QUEUE_S:
                    continue
                self._free_s = begins_s + len(packet) * self._seconds_per_byte
                self._packets.append((self._free_s + self._delay_s, packet))

    def give(self) -> None:
        now = time.perf_counter()
        while self._packets and self._packets[0][0] <= now:
            with contextlib.suppress(BlockingIOError):  # the receiver's queue is full: dropped
                os.write(self._sink, self._packets.popleft()[1])


def _end(own: str, other: str) -> tuple[int, int]:
    """A namespace with one device in it: the descriptors of the device and of the namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "a network namespace could not be made")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"wire0", IFF_TUN | IFF_NO_PI))
    for words in (
        f"addr add {own} peer {other} dev wire0",
        f"link set wire0 mtu {PACKET_BYTES} txqueuelen 10000 up",
        "link set lo up",
        # Its 127.0.0.1/8 would keep the other end's address to itself.
        "addr del 127.0.0.1/8 dev lo",
    ):
        subprocess.run(["ip", *words.split()], check=True, stdout=subprocess.DEVNULL)
    for device in ("all", "wire0"):
        Path(f"/proc/sys/net/ipv4/conf/{device}/route_localnet").write_text("1")
    return tun, os.open("/proc/self/ns/net", os.O_RDONLY)


# -- the client --------------------------------------------------------------------------------------------------------


def measure(address: str, simulator: str, frames: str, seconds: float) -> Measured:
    """Frames a second of ``env.render()`` between steps. Runs at the client's end."""
    import gym_service

    env_id, _, kwargs = SIMULATORS[simulator]
    kwargs = {**kwargs, "render_mode": "rgb_array"}
    env = gym_service.make(env_id, address=address, kwargs=kwargs, frames=frames)
    try:
        env.reset(seed=0)
        env.action_space.seed(0)
        picture = env.render()
        _play(env, min(seconds, 2.0))  # TCP finds its window, and auto its way
        frames_per_s = _play(env, seconds)
        pictures = env._connection._channel.image_codec
        use_codec = pictures._selector.use_codec if frames == "auto" else None
        return Measured(frames_per_s, "x".join(map(str, picture.shape)), use_codec)
    finally:
        env.close()


def _play(env: Any, seconds: float) -> float:
    count, rendering_s, begun = 0, 0.0, time.perf_counter()
    while count < 8 or time.perf_counter() - begun < seconds:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        before = time.perf_counter()
        env.render()
        rendering_s += time.perf_counter() - before
        count += 1
    return count / rendering_s


# -- both --------------------------------------------------------------------------------------------------------------


def frames_over(
    link: Link, simulator: str, python: Path, choices: Sequence[str], seconds: float
) -> dict[str, Measured]:
    """What a client at one end of a link measures of a server at the other, for each choice of ``frames``."""
    with tempfile.TemporaryDirectory() as config, linked(link) as (at_client, at_server):
        environ = {**os.environ, "XDG_CONFIG_HOME": config}
        env_id, module, _ = SIMULATORS[simulator]
        run = f"-u -m gym_service run --tcp {SERVER}:0 --python".split()
        argv = [sys.executable, *run, str(python), f"{module}:{env_id}"]
        if any(frames.startswith("jpeg") for frames in choices):
            argv += pillow_for(python, Path(config) / "pillow")
        server = subprocess.Popen([*at_server, *argv], env=environ, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        try:
            assert server.stdout
            address = next(line.strip() for line in server.stdout if line.startswith("tcp://"))
            return {frames: _measured(at_client, environ, address, simulator, frames, seconds) for frames in choices}
        finally:
            server.terminate()
            server.communicate()


def pillow_for(python: Path, folder: Path) -> list[str]:
    """The option by which a server finds Pillow; none where it has it, or where there is no uv to install it."""
    uv = shutil.which("uv")
    if has_pillow(python) or not uv:
        return []
    words = ["pip", "install", "--quiet", "--no-deps", "--python", str(python), "--target", str(folder), "pillow"]
    return ["--pythonpath", str(folder)] if subprocess.run([uv, *words]).returncode == 0 else []


def has_pillow(python: Path) -> bool:
    return subprocess.run([python, "-c", "import PIL"], stderr=subprocess.DEVNULL).returncode == 0


def _measured(
    at_client: list[str], environ: dict[str, str], address: str, simulator: str, frames: str, seconds: float
) -> Measured:
    words = [sys.executable, __file__, "--measure", address, simulator, frames, str(seconds)]
    command = [*at_client, *words]
    done = subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT_S + 4 * seconds
    )
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def table(links: Sequence[str], simulators: Sequence[str], choices: Sequence[str], seconds: float) -> None:
    """Print it, a row as soon as it is known."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from support.targets import TARGETS

    print(f"| simulator | link | {' | '.join(f'`{frames}`' for frames in choices)} |")
    print("|---|---|" + "--:|" * len(choices))
    for simulator in simulators:
        python = TARGETS[simulator].python()
        can_jpeg = has_pillow(python) or shutil.which("uv")
        possible = [frames for frames in choices if can_jpeg or not frames.startswith("jpeg")]
        for name in links:
            found = frames_over(LINKS[name], simulator, python, possible, seconds)
            size = next(iter(found.values())).size
            cells = [_cell(found.get(frames)) for frames in choices]
            print(f"| {simulator} {size} | {LINKS[name].said} | {' | '.join(cells)} |", flush=True)


def _cell(measured: Measured | None) -> str:
    if measured is None:
        return "no Pillow there"
    chosen = {None: "", True: " (zlib)", False: " (raw)"}[measured.use_codec]
    return f"{measured.frames_per_s:.1f}{chosen}"


def main() -> int:
    if sys.argv[1:2] == ["--carry"]:
        carry(*map(float, sys.argv[2:]))
        return 0
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:5], float(sys.argv[5]))))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.links", description="Frames a second over links.")
    for option, known in (("links", ",".join(LINKS)), ("simulators", ",".join(SIMULATORS))):
        parser.add_argument(f"--{option}", default=known, metavar="A,B")
    parser.add_argument("--frames", default="raw,zlib,auto,jpeg:90", metavar="A,B")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each cell")
    chosen = parser.parse_args()
    if reason := missing():
        print(f"no link can be made here: {reason}", file=sys.stderr)
        return 1
    table(chosen.links.split(","), chosen.simulators.split(","), chosen.frames.split(","), chosen.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
