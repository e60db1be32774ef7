"""The web page of ``gym-service view``: who may see it, its files, and the stream of each browser.

Knows aiohttp and the watched envs. Never knows a simulator. Python 3.10 and up.

Only this machine reaches the page, and only a browser that knows the token in its address. Both the token and the name
of the host are checked for each request. So another site can neither read the page nor open its stream, even if that
site's name points at 127.0.0.1. The page loads nothing from elsewhere, and its headers forbid it.

The stream is a WebSocket. Its messages to the browser are JSON with a ``kind``. After a ``view`` its pictures follow,
one binary message each. A slow browser gets fewer pictures and delays no other.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from gym_service.viewer.player import PlayedEnv
from gym_service.viewer.watched import TICK_S, ObservedEnv, ServerList, Watched

STATIC = Path(__file__).parent / "static"
FILES = {
    "": ("index.html", "text/html"),
    "view.js": ("view.js", "text/javascript"),
    "view.css": ("view.css", "text/css"),
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# A browser sends only its choice.
LARGEST_MESSAGE_BYTES = 4096
SHUTDOWN_S = 1.0


class Viewer:
    """The page, and the envs that its browsers look at.

    Args:
        servers: the running servers to choose from.
        played: an env that this process plays; None if it plays none.
        fps: pictures per second at most.
        count: of how many envs of a vector env.
    """

    def __init__(self, servers: ServerList, played: PlayedEnv | None, *, fps: float, count: int) -> None:
        self.token = secrets.token_urlsafe(24)
        self._servers, self._played = servers, played
        self._fps, self._count = fps, count
        self._watched: dict[str, Watched] = {} if played is None else {played.key: played}
        self._browsers: set[_Browser] = set()
        self.rows: list[dict[str, Any]] = []

    def application(self) -> web.Application:
        """For aiohttp's runner."""
        application = web.Application(middlewares=[self._guard])
        application.router.add_get("/{token}/stream", self._stream)
        application.router.add_get("/{token}/{name:.*}", self._file)
        application.cleanup_ctx.append(self._running)
        application.on_shutdown.append(self._say_goodbye)
        return application

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse what does not come from this page; add the headers to everything."""
        token = request.match_info.get("token", "").encode("utf-8", "replace")
        if not hmac.compare_digest(token, self.token.encode()) or not _is_from_here(request.headers):
            text = "403: the address has no valid token\nOpen the address that gym-service view has printed.\n"
            return web.Response(status=403, text=text, headers=HEADERS)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return web.Response(status=error.status, text=f"{error.status}: {error.reason}\n", headers=HEADERS)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        if request.match_info["name"] not in FILES:
            raise web.HTTPNotFound
        name, kind = FILES[request.match_info["name"]]
        return web.Response(body=(STATIC / name).read_bytes(), content_type=kind, charset="utf-8")

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=LARGEST_MESSAGE_BYTES, compress=False)
        await socket.prepare(request)
        browser = _Browser(socket)
        self._browsers.add(browser)
        sender = asyncio.create_task(browser.send_news())
        try:
            self._update_list()
            browser.show_list(self.rows)
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._choose(browser, _choice(message.data))
        finally:
            self._browsers.discard(browser)
            self._leave(browser)
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender
        return socket

    def _choose(self, browser: "_Browser", key: str) -> None:
        """Show a browser another env. A key that is not known is ignored: the server may have ended meanwhile."""
        watched = self._watched.get(key)
        if watched is None and key in self._servers.servers:
            watched = ObservedEnv(self._servers.servers[key], fps=self._fps, count=self._count)
            self._watched[key] = watched
        if watched is None or watched is browser.watched:
            return
        self._leave(browser)
        is_first = not watched.listeners
        watched.listeners.add(browser.wake_up)
        browser.watch(watched)
        if is_first:
            watched.begin()
        watched.tell()

    def _leave(self, browser: "_Browser") -> None:
        watched = browser.watched
        browser.watched = None
        if watched is not None:
            watched.listeners.discard(browser.wake_up)
            if not watched.listeners:
                watched.end()

    def _update_list(self) -> None:
        rows = self._servers.update()
        if self._played is not None:
            rows.insert(0, {"key": self._played.key, "name": self._played.name, "state": "played by this page"})
        self.rows = rows
        for key in [key for key, each in self._watched.items() if not each.listeners and each is not self._played]:
            if key not in self._servers.servers:
                del self._watched[key]

    async def _running(self, application: web.Application) -> AsyncIterator[None]:
        """Keep everything up to date while the page is served."""
        ticking = asyncio.create_task(self._tick_for_ever())
        yield
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        for watched in self._watched.values():
            watched.end()
        if self._played is not None:
            await asyncio.to_thread(self._played.close)

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self._browsers:
                self._update_list()
                for browser in self._browsers:
                    browser.show_list(self.rows)
                for watched in list(self._watched.values()):
                    if watched.listeners:
                        watched.tick()

    async def _say_goodbye(self, application: web.Application) -> None:
        for browser in list(self._browsers):
            await browser.socket.close(code=WSCloseCode.GOING_AWAY)


class _Browser:
    """One page that is open: what it has been sent, and what is new since."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.watched: Watched | None = None
        self._news = asyncio.Event()
        self._rows: list[dict[str, Any]] | None = None
        self._finished = self._pictures = 0
        self._output: str | None = None

    def watch(self, watched: Watched) -> None:
        """Show this one from its beginning."""
        self.watched = watched
        self._finished = max(0, watched.finished_count - len(watched.finished))
        self._pictures, self._output = -1, None

    def show_list(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self.wake_up()

    def wake_up(self) -> None:
        self._news.set()

    async def send_news(self) -> None:
        """Send what is new, for ever. What becomes new meanwhile is sent together."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self._news.wait()
                self._news.clear()
                if self._rows is not None:
                    rows, self._rows = self._rows, None
                    await self._send({"kind": "list", "envs": rows})
                if self.watched is not None:
                    await self._send_view(self.watched)

    async def _send_view(self, watched: Watched) -> None:
        new = watched.finished_count - self._finished
        finished = list(watched.finished)[-new:] if new else []
        message = {"kind": "view", **watched.message(), "finished": finished, "finishedBefore": self._finished}
        self._finished = watched.finished_count
        if watched.output != self._output:
            self._output = message["output"] = watched.output
        images = watched.pictures if self._pictures != watched.pictures_count else []
        self._pictures = watched.pictures_count
        await self._send(message | {"pictures": len(images)})
        for image in images:
            await self.socket.send_bytes(image)

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self.socket.send_str(json.dumps(message, allow_nan=False))


def _choice(text: str) -> str:
    """The key that a browser has chosen; empty if the message is something else."""
    try:
        message = json.loads(text)
    except ValueError:
        return ""
    key = message.get("choose") if isinstance(message, dict) else None
    return key if isinstance(key, str) else ""


def _is_from_here(headers: Mapping[str, str]) -> bool:
    """Whether the request names this machine's loopback as its host, and comes from a page of that host."""
    host = headers.get("Host", "")
    origin = headers.get("Origin")
    return _is_loopback(urlsplit(f"//{host}").hostname) and (origin is None or urlsplit(origin).netloc == host)


def _is_loopback(name: str | None) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False


async def serve(viewer: Viewer, port: int, announce: Callable[[str], None], until: asyncio.Event) -> None:
    """Serve the page on this machine until the event is set.

    Args:
        viewer: the page.
        port: 0 for a free one.
        announce: gets the address once the page can be opened.
        until: ends it. Browsers are told, and open streams are closed within a second.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(viewer.application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, bound_port = runner.addresses[0][:2]
        announce(f"http://{host}:{bound_port}/{viewer.token}/")
        await until.wait()
    finally:
        await runner.cleanup()
