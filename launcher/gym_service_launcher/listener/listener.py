"""Lets clients in over a socket, each to a server process of its own.

Knows doors, strangers, sessions, and who must be gone when. Never knows what travels after the handshake: a server is
given the accepted socket itself, so nothing stands in the road of a step. Python 3.10 and up.

One thread and one poll. The sockets of clients are never read here after the handshake: they are kept to see when a
client hangs up, since a server that is busy in C sees no end of a stream, and to be shut when a server dies, since a
forked child of a simulator may hold it open.
"""

import contextlib
import math
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType

from gym_service_launcher.errors import AuthError, ServerStartError
from gym_service_launcher.interpreters.diagnosis import diagnose
from gym_service_launcher.listener.pending import Endpoint, PendingClient
from gym_service_launcher.listener.session import ServerOptions, Session
from gym_service_launcher.net import handshake
from gym_service_launcher.processes.child import Child
from gym_service_launcher.servers import program

Say = Callable[[str], None]

# Connections at once that have not proven themselves yet; one more drops the oldest.
MAX_PENDING = 8
# Out of descriptors, accept() fails at once and for ever: a pause keeps the processor free.
OUT_OF_FDS_PAUSE_S = 0.5
# Between two looks at what the servers of the clients do.
LOOK_S = 0.5
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


@dataclass(frozen=True)
class Limits:
    """How many clients at once, and for how long (seconds) each may ask for nothing."""

    max_clients: float = math.inf
    idle_timeout_s: float = math.inf


class SessionObserver:
    """Who looks on, or nobody."""

    def look(self, sessions: Sequence[Session], *, draining: bool) -> None:
        """What there is now; called every LOOK_S, and whenever somebody has come or gone."""


def serve(
    open_endpoints: Callable[[], Sequence[Endpoint]],
    servers: ServerOptions,
    say: Say,
    ready: Say,
    limits: Limits | None = None,
    watcher: SessionObserver | None = None,
) -> None:
    """Listen, and let clients in until a signal. Blocks.

    In the main thread SIGTERM lets nobody in any more and waits until the last client has left; a second one, SIGHUP
    or Ctrl-C end all servers at once, which takes at most LEAVE_S seconds. Then the signal does what it would have
    done: Ctrl-C raises KeyboardInterrupt, SIGTERM ends the process.

    Args:
        open_endpoints: opens what is listened at, once the interpreter is known to be of use.
        servers: how each client's server is started.
        say: takes each line about what goes on.
        ready: takes the address, once clients can connect.
        limits: how many clients, and for how long.
        watcher: is shown who is there.

    Raises:
        ConfigError, AuthError: whatever ``open_endpoints`` raises.
        ServerStartError: likewise, or the interpreter cannot run a server.
    """
    program.refuse_windows()
    _refuse_unusable(servers)
    listener = Listener(open_endpoints(), servers, say, limits, watcher)
    with _handling_signals(listener), contextlib.closing(listener):
        ready(listener.address)
        listener.serve()


def _refuse_unusable(servers: ServerOptions) -> None:
    report = diagnose(servers.executable, servers.variables)
    if report.problem:
        text = f"{report.problem}\n  try: {report.advice}"
        raise ServerStartError(text, argv=(), interpreter=str(servers.executable), exit_code=None, tail="")


@contextlib.contextmanager
def _handling_signals(listener: "Listener") -> Iterator[None]:
    """Signals are noted. An exception out of their handlers could come between a start and its record."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may have handlers
        return
    caught: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        gently = number == signal.SIGTERM and not caught
        caught.append(number)
        listener.drain() if gently else listener.stop()

    before = {which: signal.getsignal(which) for which in ENDING_SIGNALS}
    handled = {which: handler for which, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for which in handled:
            signal.signal(which, note)
        yield
    finally:
        for which, handler in handled.items():
            signal.signal(which, handler)
        for number in caught[-1:]:
            signal.raise_signal(number)


class Listener:
    """Doors, and everybody who came in through them."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        servers: ServerOptions,
        say: Say,
        limits: Limits | None = None,
        watcher: SessionObserver | None = None,
    ) -> None:
        """Own the doors from here on; nobody is let in before ``serve``."""
        self._endpoints = list(endpoints)
        self._servers = servers
        self._say = say
        self._limits = limits or Limits()
        self._watcher = watcher or SessionObserver()
        self._pending: list[PendingClient] = []
        self._sessions: list[Session] = []
        self._draining: list[Session] = []
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._reopen_at = self._look_at = math.inf
        self._said_once = ""  # what would be said again and again: clients come again until there is room
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self.address = self._endpoints[0].address

    def drain(self) -> None:
        """Let nobody in any more; ``serve`` ends with the last client. From any thread, or a signal's handler."""
        self._wake_up(b"d")

    def stop(self) -> None:
        """Make ``serve`` come to its end. From any thread, or from the handler of a signal."""
        self._wake_up(b"s")

    def serve(self) -> None:
        """Let clients in until ``stop``; then end all servers, for at most LEAVE_S seconds. Only once."""
        self._watch(self._woken, select.POLLIN, self._handle_wakeup)
        self._watch_endpoints()
        while self._endpoints or self._sessions:
            self._serve_once()

    def close(self) -> None:
        """See to it that no process and no socket is left, whatever went wrong."""
        self._hang_up_on_all()
        for session in list(self._sessions):
            self._end(session)
        for session in self._draining:
            session.abort()
        self._wake.close()
        self._woken.close()

    def _wake_up(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            self._wake.send(word, socket.MSG_DONTWAIT)

    def _handle_wakeup(self) -> None:
        words = self._woken.recv(64)
        if b"s" in words:
            self._hang_up_on_all()
        elif self._endpoints:
            self._close_endpoints()
            if self._sessions:
                self._say(f"no more clients: waiting until the last of {len(self._sessions)} has left")
            self._look()

    def _serve_once(self) -> None:
        ready = [(fd, self._watched[fd]) for fd, _ in self._poll.poll(self._wait_ms())]
        for fd, called in ready:
            # What came before in this round may have closed this one, and a new one may have its number.
            if self._watched.get(fd) is called:
                called()
        self._look_at_clock()

    def _wait_ms(self) -> float | None:
        dues = [client.deadline for client in self._pending]
        dues += [session.deadline for session in self._sessions]
        wait_s = min([*dues, self._reopen_at, self._look_at]) - time.monotonic()
        return None if wait_s == math.inf else max(wait_s, 0.0) * 1000 + 1

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        for client in [each for each in self._pending if each.deadline <= now]:
            self._reject_busy(client, f"the handshake was not done within {handshake.LIMIT_S:g} s")
        for session in [each for each in self._sessions if each.deadline <= now]:
            if session.deadline_passed():
                self._end(session)
        if self._reopen_at <= now:
            self._watch_endpoints()
        if self._look_at <= now:
            self._look()

    def _look(self) -> None:
        """See what the servers do, and show it."""
        for session in self._sessions:
            if session.refresh():
                self._say(f"{session.name} has made {session.env_id}: server {session.child.pid}")
            if session.idle_s() >= self._limits.idle_timeout_s and session.deadline == math.inf:
                self._hang_up(session)
                self._say(f"{session.name} was hung up on: it has asked for nothing for {session.idle_s():.0f} s")
        self._draining = [session for session in self._draining if session.is_draining]
        self._watcher.look(self._sessions, draining=not self._endpoints)
        self._look_at = time.monotonic() + LOOK_S if self._sessions or self._draining else math.inf

    def _watch(self, what: socket.socket | Child, events: int, called: Callable[[], None]) -> None:
        self._poll.register(what, events)
        self._watched[what.fileno()] = called

    def _forget(self, what: socket.socket | Child) -> None:
        """Before it is closed; nothing happens where it is not watched, or closed already."""
        if self._watched.pop(what.fileno(), None):
            self._poll.unregister(what)

    # -- doors ---------------------------------------------------------------------------------------------------

    def _watch_endpoints(self) -> None:
        self._reopen_at = math.inf
        for endpoint in self._endpoints:
            endpoint.sock.setblocking(False)
            self._watch(endpoint.sock, select.POLLIN, partial(self._accept, endpoint))

    def _accept(self, endpoint: Endpoint) -> None:
        try:
            sock, peer = endpoint.sock.accept()
        except (BlockingIOError, ConnectionError):
            return  # it has gone again
        except OSError as error:
            self._pause_accepting(f"cannot accept a connection: {error.strerror}")
            return
        if len(self._pending) == MAX_PENDING:
            self._reject_busy(self._pending[0], f"{MAX_PENDING} others have come without proving themselves")
        try:
            client = PendingClient(endpoint, sock, peer)
        except OSError:
            sock.close()  # it has gone again
            return
        self._pending.append(client)
        self._advance_handshake(client)

    def _pause_accepting(self, reason: str) -> None:
        """Out of descriptors or of memory: whoever waits at the doors waits on, and costs nothing."""
        for endpoint in self._endpoints:
            self._forget(endpoint.sock)
        self._reopen_at = time.monotonic() + OUT_OF_FDS_PAUSE_S
        self._say_once(reason)

    def _say_once(self, line: str) -> None:
        if line != self._said_once:
            self._said_once = line
            self._say(line)

    def _close_endpoints(self) -> None:
        for client in list(self._pending):
            self._reject_busy(client, "this server lets nobody in any more")
        for endpoint in self._endpoints:
            self._forget(endpoint.sock)
            endpoint.close()
        self._endpoints = []

    # -- strangers -----------------------------------------------------------------------------------------------

    def _advance_handshake(self, client: PendingClient) -> None:
        client.handshake.has_room = len(self._sessions) < self._limits.max_clients
        self._forget(client.sock)
        try:
            events = client.advance()
        except AuthError as error:
            self._reject(client, str(error))
            return
        if events:
            self._watch(client.sock, events, partial(self._advance_handshake, client))
            return
        if client.handshake.has_room:
            self._start_session(client)
        else:
            self._drop(client)
            self._say_once(f"full: whoever comes is told to come again until one of {len(self._sessions)} has left")

    def _drop(self, client: PendingClient) -> None:
        self._pending.remove(client)
        self._forget(client.sock)
        client.sock.close()

    def _reject(self, client: PendingClient, reason: str) -> None:
        self._drop(client)
        self._say(f"{client.name} refused: {reason}")

    def _reject_busy(self, client: PendingClient, reason: str) -> None:
        """It may come again, and is told so."""
        self._pending.remove(client)
        self._forget(client.sock)
        client.reject_busy()
        self._say(f"{client.name} sent away: {reason}")

    # -- sessions ------------------------------------------------------------------------------------------------

    def _start_session(self, client: PendingClient) -> None:
        try:
            session = Session(client.sock, client.name, self._servers, secured=client.is_secured)
        except OSError as error:
            self._reject(client, f"its server cannot be started: {error}")
            return
        self._pending.remove(client)
        self._sessions.append(session)
        self._watch(session.sock, HUNG_UP, partial(self._hang_up, session))
        self._watch(session.child, select.POLLIN, partial(self._see_end, session))
        self._say(f"{session.name} connected: server {session.child.pid}")
        self._look()

    def _hang_up(self, session: Session) -> None:
        self._forget(session.sock)
        session.hang_up()

    def _see_end(self, session: Session) -> None:
        if session.child.exit_code() is not None:
            self._end(session)

    def _end(self, session: Session) -> None:
        self._said_once = ""
        self._sessions.remove(session)
        self._draining.append(session)
        self._forget(session.child)
        self._forget(session.sock)
        session.refresh()
        self._say(session.end())
        self._look()

    def _hang_up_on_all(self) -> None:
        self._forget(self._woken)
        self._close_endpoints()
        for session in self._sessions:
            if session.deadline == math.inf:
                self._hang_up(session)
