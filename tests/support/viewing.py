"""``gym-service view`` as a process, and a browser's end of its stream.

Knows the command line and the messages of the stream. Python 3.10 and up; needs aiohttp.
"""

import asyncio
import contextlib
import io
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from support.paths import REPOSITORY
from support.serving import COMMAND, Serving

# For what takes a second on an idle machine.
TIMEOUT_S = 60.0


class Page(Serving):
    """The process; ``address`` is that of the page."""

    def wait_until_up(self) -> None:
        self.address = self.until(r"^http://127\.0\.0\.1:\d+/[\w-]+/$")


@contextlib.contextmanager
def page(*arguments: str, environ: dict[str, str] | None = None, **given: Any) -> Iterator[Page]:
    """``gym-service view`` with these arguments, once its page can be opened."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "launcher")])
    variables = {**os.environ, "PYTHONPATH": path, **(environ or {})}
    running = Page([*COMMAND, "view", "--no-browser", *arguments], env=variables, **given)
    try:
        running.wait_until_up()
        yield running
    finally:
        if running.process.poll() is None:
            running.end()
        for stream in (running.process.stdout, running.process.stderr):
            assert stream
            stream.close()


class Browser:
    """One open page: its stream, and the last message of each kind."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.envs: list[dict[str, Any]] = []
        self.view: dict[str, Any] = {}
        self.pictures: list[np.ndarray] = []

    async def choose(self, key: str) -> None:
        await self._socket.send_str(json.dumps({"choose": key}))

    async def until(self, is_so: Callable[[], Any], act: Callable[[], Any] = lambda: None) -> None:
        """Receive until this holds. Acts before each message, such as by a step of the env."""
        async with asyncio.timeout(TIMEOUT_S) if hasattr(asyncio, "timeout") else contextlib.nullcontext():
            while not is_so():
                act()
                with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                    await self._receive(await self._socket.receive(0.05))

    async def _receive(self, message: aiohttp.WSMessage) -> None:
        assert message.type == aiohttp.WSMsgType.TEXT, message
        content = json.loads(message.data)
        if content["kind"] == "list":
            self.envs = content["envs"]
            return
        self.view = content
        images = [await self._socket.receive_bytes(timeout=TIMEOUT_S) for _ in range(content["pictures"])]
        if images:
            self.pictures = [np.asarray(Image.open(io.BytesIO(image))) for image in images]


@contextlib.asynccontextmanager
async def browser(address: str) -> AsyncIterator[Browser]:
    """A browser that has opened the page and its stream, and has the list."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}stream") as socket:
        opened = Browser(socket)
        await opened._receive(await socket.receive(TIMEOUT_S))
        yield opened


def files_of(text: str) -> list[str]:
    """What a page loads."""
    return re.findall(r'(?:src|href)="([^"]+)"', text)
