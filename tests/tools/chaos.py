"""Random faults, calls, interrupts, threads and vector envs: every outcome must be in the allowed set.

    python tests/tools/chaos.py --minutes 10 [--seed 7]

Each call must end, in time, in its own answer, in an error that is allowed there, or in the exception of a signal
handler. At the end the servers and their children must be gone, and so must every fd, thread and record. The seed
repeats the choices, not the timing. The exit code is 0, or 1 with a line for each outcome that was not allowed.

Knows tests/fixture_envs/faulty.py and the possible outcomes of each fault. Python 3.10 and up.
"""

import argparse
import contextlib
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).absolute().parent.parent))

import numpy as np
from gym_service_launcher.processes import guardian_client
from gymnasium.error import ResetNeeded
from support import polling, procfs
from support.clock import Clock
from support.faulty import METHODS, SIDES, TRANSPORTS, action, faulty
from support.interrupts import Late, is_in_client
from support.vector_play import remote

from gym_service import RemoteEnv, RemoteVectorEnv, errors

LIMIT_S = 0.5
START_S = 60.0
# The time that a call may take beyond its limit, on a machine where many processes are being killed at once.
LATE_S = 2.5
CALLS_PER_ENV = 14
NUM_ENVS = 3
# How often a call is interrupted, and how often a vector env replaces an env.
INTERRUPTED, VECTOR = 0.2, 0.15
DEATHS = ("SIGKILL", "SIGSEGV", "SIGABRT", "os._exit", "sys.exit")
SILENCES = ("SIGSTOP", "asleep in C", "asleep in Python", "spinning in C", "spinning in Python")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGSTOP, signal.SIGCONT)
FATAL = (errors.ServerCrashed, errors.CallTimeout, errors.ClosedError)


class Wrong(Exception):
    """An outcome that is not allowed."""


class Chaos:
    """One run: makes envs, disturbs them, and judges the results of their calls."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self._has_children, self._has_guardian = False, True
        self._threads: list[threading.Thread] = []

    def run(self, until_s: float) -> None:
        while time.monotonic() < until_s and len(self.wrong) < 20:
            given = self._choose_entry()
            try:
                self._live_as_batch(given) if self.random.random() < VECTOR else self._live(given)
            except (Wrong, errors.ServerStartError) as error:
                self.wrong.append(f"{error} ({given})")
            for thread in self._threads:
                thread.join()
            self._threads.clear()

    def _choose_entry(self) -> dict[str, Any]:
        limits = dict.fromkeys(("reset", "step", "render", "call", "close"), LIMIT_S)
        given: dict[str, Any] = {
            "transport": self.random.choice(TRANSPORTS),
            "side": self.random.choice(SIDES),
            "restart": self.random.choice(("never", "on-reset")),
            "timeouts": {"start": START_S, **limits},
        }
        if self.random.random() < 0.08:
            given |= {"on": "make", "what": self.random.choice(DEATHS)}
        return given

    def _live(self, given: dict[str, Any]) -> None:
        with contextlib.ExitStack() as stack:
            try:
                env = self._timed("make", START_S, lambda: stack.enter_context(faulty(**given)))
            except errors.ServerStartError as error:
                self._count("make", "ServerStartError")
                if "on" not in given:
                    raise Wrong(f"an env without a fault was not made: {error}") from None
                return
            self._count("make", "made")
            self._has_children, self._has_guardian = False, True
            self._disturb_and_use(env, given)

    def _disturb_and_use(self, env: RemoteEnv, given: dict[str, Any]) -> None:
        number: int | None = None  # the number of steps since the reset; None if it is unknown
        for _ in range(self.random.randint(2, CALLS_PER_ENV)):
            if self.random.random() < 0.35:
                self._disturb(env)
            method = self.random.choice((*METHODS, "step", "step"))
            try:
                with self._interrupts():
                    number = self._timed(method, LIMIT_S, lambda m=method, n=number: self._use(env, m, n))  # type: ignore[misc]
            except Late:
                self._count(method, "interrupted")
                number = None  # the step may be carried out, unless nothing of it was sent
            except (*FATAL, errors.ServerStartError) as error:
                if isinstance(error, errors.ServerStartError) and (method != "reset" or given["restart"] == "never"):
                    raise Wrong(f"{method}: {error}") from error
                self._count(method, type(error).__name__)
                number = None

    def _use(self, env: RemoteEnv, method: str, number: int | None) -> int | None:
        """Make one call, whose answer must be its own. Returns the number of steps after it."""
        if method == "reset":
            expect(env.reset()[0]["answers"].tolist(), [0, 0, 0])
            number = 0
        elif method == "render":
            image = env.render()
            if number is not None:
                expect(int(image[0, 0, 0]), number % 256)
        else:
            named = self.random.randint(1, 10**6)
            observation, reward, *_ = env.step(action(named))
            number = None if number is None else number + 1
            expect((observation["answers"].tolist()[1:], reward), ([named, -7 * named], float(named)))
            expect(bool((observation["image"] == named % 256).all()), True)
            if number is not None:
                expect(observation["answers"].tolist()[0], number)
        self._count(method, "answered")
        return number

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Sometimes set a timer whose handler raises Late in the client's code."""

        def interrupt(number: int, frame: FrameType | None) -> None:
            if is_in_client(frame):  # otherwise the exception would end this program
                raise Late

        if self.random.random() >= INTERRUPTED:
            yield
            return
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, self.random.choice((2e-4, 2e-3, 0.2)) * self.random.uniform(0.1, 1.0))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _live_as_batch(self, given: dict[str, Any]) -> None:
        """Use a vector env: each row must answer its own action, and all envs must be in the same step."""
        kwargs = {"side": given["side"]}
        keys = {"timeouts": given["timeouts"], "transport": given["transport"], "kwargs": kwargs}
        workers = self.random.randint(1, NUM_ENVS)
        with contextlib.ExitStack() as stack:
            made = remote("Faulty", NUM_ENVS, entry_point="faulty:FaultyEnv", workers=workers, **keys)
            envs = self._timed("make batch", START_S, lambda: stack.enter_context(made))
            for _ in range(self.random.randint(2, CALLS_PER_ENV)):
                if self.random.random() < 0.1:
                    with contextlib.suppress(ProcessLookupError):  # killed before, and the call since was interrupted
                        os.kill(self.random.choice(envs.targets)["pid"], signal.SIGKILL)
                method = self.random.choice(("reset", "step", "step"))
                try:
                    with self._interrupts():
                        self._timed(f"batch {method}", LIMIT_S, lambda m=method: self._use_batch(envs, m))  # type: ignore[misc]
                    self._count(f"batch {method}", "answered")
                except FATAL as error:
                    self._count(f"batch {method}", type(error).__name__)
                    return
                except (Late, ResetNeeded) as error:
                    self._count(f"batch {method}", type(error).__name__)

    def _use_batch(self, envs: RemoteVectorEnv, method: str) -> None:
        if method == "reset":
            expect(envs.reset()[0]["answers"].tolist(), [[0, 0, 0]] * NUM_ENVS)
            return
        named = self.random.randint(1, 10**6)
        actions = np.array([[named + row, -row] for row in range(NUM_ENVS)], np.int64)
        answers = envs.step(actions)[0]["answers"]
        expect(answers[:, 1:].tolist(), actions.tolist())
        expect(len(set(answers[:, 0].tolist())), 1)

    def _disturb(self, env: RemoteEnv) -> None:
        disturbance = self.random.choice(self._disturbances())
        self.counts[f"disturbed: {disturbance.__name__.strip('_')}"] += 1
        try:
            self._timed("call", LIMIT_S, lambda: disturbance(env))
        except FATAL as error:
            self._count("call", type(error).__name__)

    def _disturbances(self) -> list[Callable[[RemoteEnv], None]]:
        often = [self._arm, self._arm, self._arm, self._signal_soon, self._signal_soon]
        others = [self._start_children, self._kill_guardian, self._close_soon, self._send_much, self._fork]
        return [*often, *others, self._look_soon]

    def _arm(self, env: RemoteEnv) -> None:
        faults = (*DEATHS, *SILENCES, "fork")
        env.call("arm", self.random.choice((*METHODS, "close")), self.random.choice(faults))

    def _signal_soon(self, env: RemoteEnv) -> None:
        pidfd, number = self._pidfd(env), self.random.choice(SIGNALS)

        def send() -> None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
            os.close(pidfd)

        if pidfd >= 0:
            self._soon(send)

    def _pidfd(self, env: RemoteEnv) -> int:
        try:
            return os.pidfd_open(env.target["pid"])
        except ProcessLookupError:
            return -1

    def _start_children(self, env: RemoteEnv) -> None:
        self._has_children = True
        env.call("start_children")

    def _kill_guardian(self, env: RemoteEnv) -> None:
        # Without a guardian, the children of its servers outlive them: docs/architecture.md says so.
        if not self._has_children and self._has_guardian and self.random.random() < 0.3:
            self._has_guardian = False  # until the next server is started
            os.kill(procfs.guardian_of(os.getpid()), signal.SIGKILL)
            polling.until_dead([env.target["pid"]])

    def _close_soon(self, env: RemoteEnv) -> None:
        if self.random.random() < 0.3:
            self._soon(env.close)

    def _look_soon(self, env: RemoteEnv) -> None:
        """Make a call in another thread, in the middle of this thread's call."""
        value = self.random.randint(0, 10**6)

        def look() -> None:
            try:
                if env.call("echo", value) != value:
                    self.wrong.append("another thread got an answer to something else")
            except FATAL as error:
                self._count("call of another thread", type(error).__name__)
            except Exception as error:  # noqa: BLE001 - each outcome is judged
                self.wrong.append(f"another thread's call raised {type(error).__name__}: {error}")

        self._soon(look)

    def _send_much(self, env: RemoteEnv) -> None:
        expect(env.call("measure", np.zeros(self.random.randint(1, 8) * 2**20, np.uint8)) % 2**20, 0)

    def _fork(self, env: RemoteEnv) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about a fork while other threads run
            child = os.fork()
        if child == 0:
            try:
                env.step(action(1))
            except errors.ForkedError:
                os._exit(0)
            finally:
                os._exit(1)
        expect(os.waitpid(child, 0)[1], 0)

    def _soon(self, act: Callable[[], None]) -> None:
        timer = threading.Timer(self.random.uniform(0, 0.3), act)
        timer.start()
        self._threads.append(timer)

    def _timed(self, method: str, limit_s: float, act: Callable[[], Any]) -> Any:
        clock = Clock()
        try:
            return act()
        except (*FATAL, errors.ServerStartError, Wrong, Late, ResetNeeded):
            raise
        except Exception as error:
            raise Wrong(f"{method} raised {type(error).__name__}: {str(error)[:300]}") from error
        finally:
            took_s = clock.took_s
            # A reset may start a server first, after a pause.
            if took_s > limit_s + LATE_S + (START_S if method == "reset" else 0.0):
                self.wrong.append(f"{method} took {took_s:.1f} s")
            if method in ("step", "render"):
                self.slowest_s = max(self.slowest_s, took_s)

    def _count(self, method: str, outcome: str) -> None:
        self.counts[f"{method}: {outcome}"] += 1


def expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise Wrong(f"the answer to another call: {found} instead of {wanted}")


def left_behind(mark: str, fds: Sequence[str], threads: int, runtime_dir: Path) -> list[str]:
    """Everything that is still left after the grace period for processes that are ending."""
    spared = {os.getpid(), *guardians()}  # a guardian that was not killed ends with its client

    def rest() -> list[str]:
        found = [procfs.command_line(pid) for pid in procfs.marked(mark) if pid not in spared]
        found += [f"{len(procfs.open_fds())} fds, {len(fds)} before"] * (len(procfs.open_fds()) != len(fds))
        found += [f"{threading.active_count()} threads, {threads} before"] * (threading.active_count() != threads)
        return [*found, *map(str, runtime_dir.rglob("*.server"))]

    with contextlib.suppress(AssertionError):
        polling.until(lambda: not rest(), "nothing left", 5.0)
    return rest()


def guardians() -> list[int]:
    """The guardian of this process, if there is one."""
    try:
        return [procfs.guardian_of()]
    except AssertionError:
        return []


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Random faults, random calls: every outcome must be an allowed one.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randint(0, 10**6))
    chosen = parser.parse_args(arguments)
    logging.getLogger("gym_service").setLevel(logging.WARNING)  # every start is slow on a busy machine
    # All processes started from here on have this in their environment.
    os.environ["CHAOS"] = f"{os.getpid()}-{time.time_ns()}"
    mark = f"CHAOS={os.environ['CHAOS']}"
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    os.environ["XDG_RUNTIME_DIR"] = os.environ["XDG_STATE_HOME"] = str(folder)
    try:
        return play(chosen.minutes, chosen.seed, mark, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(minutes: float, seed: int, mark: str, folder: Path) -> int:
    print(f"seed {seed}, {minutes:g} minutes", flush=True)
    guardian_client.ensure()
    warm_up = Chaos(seed)
    warm_up.run(time.monotonic() + 5.0)
    fds, threads, memory_bytes = procfs.open_fds(), threading.active_count(), procfs.memory_bytes()
    chaos = Chaos(seed)
    chaos.run(time.monotonic() + minutes * 60)
    left = left_behind(mark, fds, threads, folder)
    for outcome, count in sorted(chaos.counts.items()):
        print(f"{count:7}  {outcome}")
    print(f"the slowest step or render: {chaos.slowest_s:.2f} s with a limit of {LIMIT_S:g} s")
    print(f"memory: {(procfs.memory_bytes() - memory_bytes) / 2**20:+.1f} MiB")
    for wrong in [*warm_up.wrong, *chaos.wrong, *(f"left behind: {what}" for what in left)]:
        print(f"WRONG  {wrong}")
    return int(bool(warm_up.wrong or chaos.wrong or left))


if __name__ == "__main__":
    sys.exit(main())
