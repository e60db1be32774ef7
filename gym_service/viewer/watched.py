"""The envs that browsers look at: each once, however many browsers there are.

Knows the servers of this user, their records and logs, and what comes from them. Never knows HTTP or a browser. Python
3.10 and up; everything here runs in one asyncio loop.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gym_service_launcher.processes import logs, pidfiles
from gym_service_launcher.processes.pidfiles import ServerInfo
from gym_service_launcher.standalone import procfs

from gym_service.viewer import pictures
from gym_service.viewer.observed import CannotLook, ObservedServer, View

# How often the list, the rates and the output are updated, and requests for pictures renewed, in seconds.
TICK_S = 1.0
# Over how long a rate is measured, in seconds.
RATE_S = 3.0
MAX_FINISHED = 2000
OUTPUT_BYTES = 16384


class Rate:
    """How fast a number grows, over the last RATE_S."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, count: int) -> float:
        """The growth per second, now that it is ``count``."""
        now = time.monotonic()
        self._samples.append((now, count))
        while len(self._samples) > 2 and self._samples[1][0] < now - RATE_S:
            self._samples.popleft()
        since, before = self._samples[0]
        return (count - before) / (now - since) if now > since else 0.0


class Watched:
    """One env that somebody looks at: its last view, its finished episodes, and who is told of news.

    Args:
        key: by which browsers choose it.
        name: for people.
    """

    def __init__(self, key: str, name: str) -> None:
        self.key, self.name = key, name
        self.listeners: set[Callable[[], None]] = set()
        self.facts: dict[str, Any] = {}
        self.pictures: list[bytes] = []
        self.finished: deque[list[Any]] = deque(maxlen=MAX_FINISHED)
        self.finished_count = 0  # with those that ``finished`` has dropped
        self.pictures_count = 0  # how often there were new ones
        self.output = ""
        self.problem = ""  # why nothing comes
        self.has_ended = False
        self.steps_per_s = 0.0
        self._rate = Rate()
        self._steps = 0

    def begin(self) -> None:
        """Somebody looks: called when the first one comes."""

    def end(self) -> None:
        """Nobody looks any more, or the page ends. May be called repeatedly."""

    def tick(self) -> None:
        """Called every TICK_S while somebody looks."""
        self.steps_per_s = 0.0 if self.has_ended else self._rate.update(self._steps)
        self.tell()

    def take(self, views: Iterable[View]) -> None:
        """Show what has come: the newest picture, and every finished episode."""
        last: View | None = None
        for last in views:
            finished = last.facts.pop("finished", [])
            self.finished += finished
            self.finished_count += len(finished)
        if last is None:
            return
        known = self.facts
        self.facts = last.facts
        for name in ("rewards", "info"):  # of the last call that had them
            if self.facts.get(name) is None:
                self.facts[name] = known.get(name)
        self._steps = int(self.facts.get("steps", 0))
        self.problem = ""
        if last.arrays:
            self.pictures = [pictures.encode(array) for array in last.arrays]
            self.pictures_count += 1
        self.tell()

    def tell(self) -> None:
        for listener in list(self.listeners):
            listener()

    def message(self) -> dict[str, Any]:
        """What the page shows of it, without its pictures, output and finished episodes."""
        shown = {"key": self.key, "name": self.name, "stepsPerS": self.steps_per_s, "status": self.problem}
        return shown | {"facts": finite(self.facts), "pictures": len(self.pictures)}


class ObservedEnv(Watched):
    """An env in a running server, which it does not belong to."""

    def __init__(self, server: ServerInfo, *, fps: float, count: int) -> None:
        super().__init__(key_of(server), server.name)
        self.server = server
        self._fps, self._count = fps, count
        self._look: ObservedServer | None = None
        self._log = TailOfLog(server.pid)

    def begin(self) -> None:
        self._try_to_look()

    def end(self) -> None:
        look, self._look = self._look, None
        if look is not None:
            asyncio.get_running_loop().remove_reader(look.fileno())
            look.close()

    def tick(self) -> None:
        process = procfs.process(self.server.pid)
        self.output = self._log.read()
        if process is None or process.start_time != self.server.start_time:
            self._say_ended()
        elif self._look is not None:
            self._look.renew()
            if not self.facts:
                self.problem = "waiting for the trainer's next call"
        else:
            self._try_to_look()
        super().tick()

    def _try_to_look(self) -> None:
        try:
            self._look = ObservedServer(self.server.record, fps=self._fps, count=self._count)
        except CannotLook as error:
            self.problem = str(error)
        except OSError as error:
            self.problem = f"it cannot be looked at: {error.strerror or error}"
        else:
            self.problem = "waiting for the trainer's next call"
            asyncio.get_running_loop().add_reader(self._look.fileno(), self._receive)

    def _receive(self) -> None:
        views = []
        while self._look is not None and (view := self._look.receive()):
            views.append(view)
        self.take(views)

    def _say_ended(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self.end()
            trainer = self.server.client_pid
            gone = procfs.process(trainer) is None
            self.problem = "its server has ended" + (f": its trainer, process {trainer}, has ended" if gone else "")


class TailOfLog:
    """The end of what a server has printed."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._path: Path | None = None
        self._text = ""

    def read(self) -> str:
        with contextlib.suppress(OSError):
            self._path = self._path or next(iter(logs.of_pid(str(self._pid))), None)
            if self._path is not None:
                with self._path.open("rb") as file:
                    file.seek(max(0, file.seek(0, 2) - OUTPUT_BYTES))
                    self._text = file.read(OUTPUT_BYTES).decode("utf-8", "backslashreplace")
        return self._text


class ServerList:
    """The servers of this user that run."""

    def __init__(self, *, without_client: int, only: Callable[[ServerInfo], bool] | None = None) -> None:
        """Leaves out listeners, and the servers of the client ``without_client``."""
        self._without, self._only = without_client, only
        self._rates: dict[str, Rate] = {}
        self.servers: dict[str, ServerInfo] = {}

    def update(self) -> list[dict[str, Any]]:
        """What the page shows of them, the newest first."""
        found = {
            key_of(server): server
            for server in reversed(pidfiles.list_servers())
            if not server.is_listener
            and server.client_pid != self._without
            and (self._only is None or self._only(server))
        }
        self._rates = {key: self._rates.get(key, Rate()) for key in found}
        self.servers = found
        return [self._row(key, server) for key, server in found.items()]

    def _row(self, key: str, server: ServerInfo) -> dict[str, Any]:
        return {
            "key": key,
            "name": server.name,
            "pid": server.pid,
            "client": server.client_pid,
            "state": server.state,
            "age": round(server.age_s),
            "memory": server.memory_bytes,
            "interpreter": server.executable,
            "callsPerS": round(self._rates[key].update(server.calls), 1),
        }


def key_of(server: ServerInfo) -> str:
    """A server's name for browsers: no other process ever gets it."""
    return f"{server.pid}-{server.start_time}"


def finite(value: Any) -> Any:
    """The same for JSON, which has neither infinities nor NaN: they become None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
