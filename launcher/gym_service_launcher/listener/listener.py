"""Accepts clients on sockets and gives each of them its own server process.

Knows endpoints, pending clients, sessions and their deadlines. Never knows what is sent after the handshake: a server
gets the accepted socket itself, so the listener is not on the path of a step. Python 3.10 and up.

One thread and one poll. After the handshake the listener never reads the sockets of clients. It keeps copies of them
for two reasons. It sees when a client disconnects, which a server that is busy in C code does not see. And it shuts
the socket down when a server dies, because a forked child of the simulator may hold another copy.
"""

import contextlib
import math
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from gym_service_launcher.errors import AuthError, ServerStartError
from gym_service_launcher.interpreters.diagnosis import diagnose
from gym_service_launcher.listener.pending import Endpoint, PendingClient
from gym_service_launcher.listener.rejection_log import RejectionLog
from gym_service_launcher.listener.session import ServerOptions, Session
from gym_service_launcher.net import handshake
from gym_service_launcher.processes import pidfiles
from gym_service_launcher.processes.child import Child
from gym_service_launcher.servers import program

Say = Callable[[str], None]

# Unauthenticated connections at the same time. One more rejects the oldest.
MAX_PENDING = 8
# Seconds. Without file descriptors accept() fails at once, again and again: a pause keeps the processor free.
OUT_OF_FDS_PAUSE_S = 0.5
# Seconds between two readings of the counters of the servers.
REFRESH_S = 0.5
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


@dataclass(frozen=True)
class Limits:
    """How many clients may be connected at the same time, and how long each may be idle (seconds)."""

    max_clients: float = math.inf
    idle_timeout_s: float = math.inf


class SessionObserver:
    """Shows the sessions, for example in a terminal. This one shows nothing."""

    def show(self, sessions: Sequence[Session], *, draining: bool) -> None:
        """The sessions now. Called every REFRESH_S, and when one starts or ends. Must not block."""

    def finish(self) -> None:
        """Called at the end, before a signal takes effect. May block for a moment, to write what is still queued."""


def serve(
    open_endpoints: Callable[[], Sequence[Endpoint]],
    servers: ServerOptions,
    say: Say,
    ready: Say,
    limits: Limits | None = None,
    observer: SessionObserver | None = None,
) -> None:
    """Listen and serve clients until a signal. Blocks.

    In the main thread, SIGTERM stops accepting clients and waits until the last one disconnects. A second SIGTERM,
    SIGHUP and Ctrl-C stop all servers, which takes at most LEAVE_S seconds. Then the signal has its usual effect:
    Ctrl-C raises KeyboardInterrupt, SIGTERM ends the process.

    Args:
        open_endpoints: opens the listening sockets. It is called once the interpreter is known to work.
        servers: how the server of each client is started.
        say: is called with each line of the log. Must not block.
        ready: is called with the address once clients can connect.
        limits: the limits of clients; None for no limits.
        observer: is shown the sessions, and the end.

    Raises:
        ConfigError, AuthError: from ``open_endpoints``.
        ServerStartError: from ``open_endpoints``, or the interpreter cannot run a server.
    """
    program.refuse_windows()
    _refuse_unusable(servers)
    observer = observer or SessionObserver()
    listener = Listener(open_endpoints(), servers, say, limits, observer)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_handling_signals(listener))
        stack.callback(observer.finish)
        stack.enter_context(contextlib.closing(listener))
        stack.enter_context(_recorded(listener.address, servers.executable))
        ready(listener.address)
        listener.serve()


@contextlib.contextmanager
def _recorded(address: str, executable: Path) -> Iterator[None]:
    """Let ``gym-service ps`` and ``stop`` know this process by its address."""
    record = pidfiles.PidFile()
    record.create()
    try:
        record.write(address, executable, os.getpid(), pidfiles.LISTENING)
        yield
    finally:
        record.remove()


def _refuse_unusable(servers: ServerOptions) -> None:
    report = diagnose(servers.executable, servers.variables)
    if report.problem:
        text = f"{report.problem}\n  try: {report.advice}"
        raise ServerStartError(text, argv=(), interpreter=str(servers.executable), exit_code=None, tail="")


@contextlib.contextmanager
def _handling_signals(listener: "Listener") -> Iterator[None]:
    """Signals only wake the listener. An exception from a handler could interrupt the start of a server halfway."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set signal handlers
        return
    caught: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        gently = number == signal.SIGTERM and not caught
        caught.append(number)
        listener.drain() if gently else listener.stop()

    before = {which: signal.getsignal(which) for which in ENDING_SIGNALS}
    handled = {which: handler for which, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    # A signal that comes just before poll() blocks would else be noted only when something else ends poll().
    own_fd = os.dup(listener.wakeup_fd)  # it outlives the listener's
    wakeup_fd = signal.set_wakeup_fd(own_fd, warn_on_full_buffer=False)
    try:
        for which in handled:
            signal.signal(which, note)
        yield
    finally:
        signal.set_wakeup_fd(wakeup_fd)
        os.close(own_fd)
        for which, handler in handled.items():
            signal.signal(which, handler)
        for number in caught[-1:]:
            signal.raise_signal(number)


class Listener:
    """The endpoints, the pending clients and the sessions."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        servers: ServerOptions,
        say: Say,
        limits: Limits | None = None,
        observer: SessionObserver | None = None,
    ) -> None:
        """Take over the endpoints. ``serve`` accepts the first client."""
        self._endpoints = list(endpoints)
        self._servers = servers
        self._say = say
        self._rejections = RejectionLog(say)
        self._limits = limits or Limits()
        self._observer = observer or SessionObserver()
        self._pending: list[PendingClient] = []
        self._sessions: list[Session] = []
        self._draining: list[Session] = []
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._reopen_at = self._refresh_at = math.inf
        self._last_state = ""  # the last line of a lasting state, which would else repeat with each retry of a client
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self.wakeup_fd = self._wake.fileno()  # whatever is written to it wakes ``serve``
        self.address = self._endpoints[0].address

    def drain(self) -> None:
        """Stop accepting clients; ``serve`` ends with the last session. From any thread or signal handler."""
        self._wake_up(b"d")

    def stop(self) -> None:
        """Make ``serve`` stop all servers and end. From any thread or signal handler."""
        self._wake_up(b"s")

    def serve(self) -> None:
        """Accept clients until ``stop``; then stop all servers, for at most LEAVE_S seconds. Call it once."""
        self._watch(self._woken, select.POLLIN, self._handle_wakeup)
        self._watch_endpoints()
        while self._endpoints or self._sessions:
            self._serve_once()

    def close(self) -> None:
        """Leave no process and no socket behind, whatever happened."""
        self._disconnect_all()
        for session in list(self._sessions):
            self._end(session)
        for session in self._draining:
            session.abort()
        self._rejections.flush()
        self._wake.close()
        self._woken.close()

    def _wake_up(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # closed, or so full that it wakes anyway
            self._wake.send(word, socket.MSG_DONTWAIT)

    def _handle_wakeup(self) -> None:
        words = self._woken.recv(64)
        if b"s" in words:
            self._disconnect_all()
        elif b"d" in words and self._endpoints:  # any other byte only says that a signal's handler has to run
            self._close_endpoints()
            if self._sessions:
                clients = "1 client" if len(self._sessions) == 1 else f"{len(self._sessions)} clients"
                self._say(f"shutting down: waiting for {clients} to disconnect")
            self._refresh()

    def _serve_once(self) -> None:
        ready = [(fd, self._watched[fd]) for fd, _ in self._poll.poll(self._wait_ms())]
        for fd, called in ready:
            # An earlier call of this round may have closed this descriptor, and a new one may have its number.
            if self._watched.get(fd) is called:
                called()
        self._check_deadlines()

    def _wait_ms(self) -> float | None:
        deadlines = [client.deadline for client in self._pending]
        deadlines += [session.deadline for session in self._sessions]
        wait_s = min([*deadlines, self._reopen_at, self._refresh_at, self._rejections.due]) - time.monotonic()
        return None if wait_s == math.inf else max(wait_s, 0.0) * 1000 + 1

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        for client in [each for each in self._pending if each.deadline <= now]:
            self._reject_busy(client, f"the handshake took more than {handshake.LIMIT_S:g} s")
        for session in [each for each in self._sessions if each.deadline <= now]:
            if session.deadline_passed():
                self._end(session)
        if self._reopen_at <= now:
            self._watch_endpoints()
        if self._refresh_at <= now:
            self._refresh()
        if self._rejections.due <= now:
            self._rejections.flush()

    def _refresh(self) -> None:
        """Read what the servers are doing, and show it."""
        for session in self._sessions:
            if session.refresh():
                self._say(f"{session.name} made {session.env_id}: server {session.child.pid}")
            if session.idle_s() >= self._limits.idle_timeout_s and session.deadline == math.inf:
                self._disconnect(session)
                self._say(f"{session.name} disconnected: idle for {session.idle_s():.0f} s")
        self._draining = [session for session in self._draining if session.is_draining]
        self._observer.show(self._sessions, draining=not self._endpoints)
        self._refresh_at = time.monotonic() + REFRESH_S if self._sessions or self._draining else math.inf

    def _watch(self, what: socket.socket | Child, events: int, called: Callable[[], None]) -> None:
        self._poll.register(what, events)
        self._watched[what.fileno()] = called

    def _forget(self, what: socket.socket | Child) -> None:
        """Stop watching it; call this before it is closed. Does nothing if it is not watched or already closed."""
        if self._watched.pop(what.fileno(), None):
            self._poll.unregister(what)

    # -- endpoints -----------------------------------------------------------------------------------------------

    def _watch_endpoints(self) -> None:
        self._reopen_at = math.inf
        for endpoint in self._endpoints:
            endpoint.sock.setblocking(False)
            self._watch(endpoint.sock, select.POLLIN, partial(self._accept, endpoint))

    def _accept(self, endpoint: Endpoint) -> None:
        try:
            sock, peer = endpoint.sock.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client disconnected again
        except OSError as error:
            self._pause_accepting(f"cannot accept a connection: {error.strerror}")
            return
        if len(self._pending) == MAX_PENDING:
            self._reject_busy(self._pending[0], f"too many unauthenticated connections ({MAX_PENDING})")
        try:
            client = PendingClient(endpoint, sock, peer)
        except OSError:
            sock.close()  # the client disconnected again
            return
        self._pending.append(client)
        self._advance_handshake(client)

    def _pause_accepting(self, reason: str) -> None:
        """Without file descriptors or memory: leave new connections in the backlog for a while."""
        for endpoint in self._endpoints:
            self._forget(endpoint.sock)
        self._reopen_at = time.monotonic() + OUT_OF_FDS_PAUSE_S
        self._say_state(reason)

    def _say_state(self, line: str) -> None:
        """Say it once for as long as it lasts."""
        if line != self._last_state:
            self._last_state = line
            self._say(line)

    def _close_endpoints(self) -> None:
        for client in list(self._pending):
            self._reject_busy(client, "the server is shutting down")
        for endpoint in self._endpoints:
            self._forget(endpoint.sock)
            endpoint.close()
        self._endpoints = []

    # -- pending clients -----------------------------------------------------------------------------------------

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
            self._say_state(f"at --max-clients ({self._limits.max_clients}): new clients are told to retry")

    def _drop(self, client: PendingClient) -> None:
        self._pending.remove(client)
        self._forget(client.sock)
        client.sock.close()

    def _reject(self, client: PendingClient, reason: str) -> None:
        self._drop(client)
        self._rejections.write(f"{client.name} rejected: {reason}")

    def _reject_busy(self, client: PendingClient, reason: str) -> None:
        """Tell the client that it may retry, and close the connection."""
        self._pending.remove(client)
        self._forget(client.sock)
        client.reject_busy()
        self._rejections.write(f"{client.name} rejected: {reason}")

    # -- sessions ------------------------------------------------------------------------------------------------

    def _start_session(self, client: PendingClient) -> None:
        try:
            session = Session(client.sock, client.name, self._servers, secured=client.is_secured)
        except OSError as error:
            self._reject(client, f"its server cannot be started: {error}")
            return
        self._pending.remove(client)
        self._sessions.append(session)
        self._watch(session.sock, HUNG_UP, partial(self._disconnect, session))
        self._watch(session.child, select.POLLIN, partial(self._handle_exit, session))
        self._say(f"{session.name} connected: server {session.child.pid}")
        self._refresh()

    def _disconnect(self, session: Session) -> None:
        """The client has disconnected, or is to be disconnected."""
        self._forget(session.sock)
        session.disconnect()

    def _handle_exit(self, session: Session) -> None:
        if session.child.exit_code() is not None:
            self._end(session)

    def _end(self, session: Session) -> None:
        self._last_state = ""
        self._sessions.remove(session)
        self._draining.append(session)
        self._forget(session.child)
        self._forget(session.sock)
        session.refresh()
        self._say(session.end())
        self._refresh()

    def _disconnect_all(self) -> None:
        self._forget(self._woken)
        self._close_endpoints()
        for session in self._sessions:
            if session.deadline == math.inf:
                self._disconnect(session)
