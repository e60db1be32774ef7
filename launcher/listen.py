"""Lets clients in over a socket, each to a server process of its own.

Knows the handshake, children, and who must be gone when. Never knows what travels after the handshake: a server is
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from gym_service_launcher import handshake, interpreter, supervisor, tcp, tokens
from gym_service_launcher.child import FIRST_PASSED_FD, Child, Rung, ending
from gym_service_launcher.errors import AuthError, ServerStartError
from gym_service_launcher.handshake import Handshake
from gym_service_launcher.tokens import Token

Say = Callable[[str], None]

# Connections at once that have not proven themselves yet; one more drops the oldest.
MAX_STRANGERS = 8
# How long a server whose client has gone may take to close its env.
LEAVE_S = 5.0
# Out of descriptors, accept() fails at once and for ever: a pause keeps the processor free.
OUT_OF_FDS_PAUSE_S = 0.05
SHOWN_LINES = 20
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


def serve(executable: Path, host: str, port: int, say: Say, ready: Say) -> None:
    """Listen, and let clients in until SIGTERM, SIGHUP or Ctrl-C.

    Blocks. In the main thread a signal ends all servers first, which takes at most LEAVE_S seconds, and then does
    what it would have done at once: Ctrl-C raises KeyboardInterrupt, SIGTERM ends the process.

    Args:
        executable: the interpreter of the servers.
        host: a name or an address of loopback.
        port: 0 for one that is free.
        say: takes each line about what goes on.
        ready: takes the address, ``tcp://host:port``, once clients can connect.

    Raises:
        ConfigError: the host is none, or not loopback.
        ServerStartError: the port is taken, or the interpreter cannot run a server.
        AuthError: the token file cannot be used.
    """
    supervisor.refuse_windows()
    variables = interpreter.environment(executable, {}, ())
    _refuse_unusable(executable, variables)
    token = tokens.read_or_make(tokens.usual_file())
    listener = Listener(tcp.bind(host, port), executable, variables, token, say)
    with _stopped_by_signals(listener.stop), contextlib.closing(listener):
        ready(listener.address)
        listener.serve()


def _refuse_unusable(executable: Path, variables: Mapping[str, str]) -> None:
    report = interpreter.probe(executable, variables)
    if report.problem:
        text = f"{report.problem}\n  try: {report.advice}"
        raise ServerStartError(text, argv=(), interpreter=str(executable), exit_code=None, tail="")


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Signals call ``stop``. An exception out of their handlers could come between a start and its record."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may have handlers
        return
    caught: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        caught.append(number)
        stop()

    before = {which: signal.getsignal(which) for which in ENDING_SIGNALS}
    heeded = {which: handler for which, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for which in heeded:
            signal.signal(which, note)
        yield
    finally:
        for which, handler in heeded.items():
            signal.signal(which, handler)
        for number in caught[:1]:
            signal.raise_signal(number)


@dataclass(eq=False)
class _Stranger:
    """A connection that has not proven itself."""

    sock: socket.socket
    name: str
    handshake: Handshake
    deadline: float


@dataclass(eq=False)
class _Session:
    """A client and its server."""

    sock: socket.socket
    name: str
    child: Child
    begun: float
    deadline: float = math.inf  # once its client has gone: when it is killed


class Listener:
    """Listening sockets, and everybody who came in through them."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        executable: Path,
        variables: Mapping[str, str],
        token: Token,
        say: Say,
    ) -> None:
        """Own the sockets from here on; nobody is let in before ``serve``."""
        self._sockets = list(sockets)
        self._executable = executable
        self._variables = variables
        self._token = token
        self._say = say
        self._strangers: list[_Stranger] = []
        self._sessions: list[_Session] = []
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._wake, self._woken = socket.socketpair()
        self.address = _name_of(self._sockets[0].getsockname())

    def stop(self) -> None:
        """Make ``serve`` come to its end. From any thread, or from the handler of a signal."""
        with contextlib.suppress(OSError):  # it has ended already
            self._wake.send(b"!", socket.MSG_DONTWAIT)

    def serve(self) -> None:
        """Let clients in until ``stop``; then end all servers, for at most LEAVE_S seconds. Only once."""
        self._watch(self._woken, select.POLLIN, self._hang_up_on_all)
        for sock in self._sockets:
            sock.setblocking(False)
            self._watch(sock, select.POLLIN, partial(self._accept, sock))
        while self._sockets or self._sessions:
            self._serve_once()

    def close(self) -> None:
        """See to it that no process and no socket is left, whatever went wrong."""
        self._hang_up_on_all()
        for session in list(self._sessions):
            self._end(session)
        self._wake.close()
        self._woken.close()

    def _serve_once(self) -> None:
        ready = [(fd, self._watched[fd]) for fd, _ in self._poll.poll(self._wait_ms())]
        for fd, called in ready:
            # What came before in this round may have closed this one, and a new one may have its number.
            if self._watched.get(fd) is called:
                called()
        self._look_at_clock()

    def _wait_ms(self) -> float | None:
        deadlines = [stranger.deadline for stranger in self._strangers]
        deadlines += [session.deadline for session in self._sessions]
        wait_s = min(deadlines, default=math.inf) - time.monotonic()
        return None if wait_s == math.inf else max(wait_s, 0.0) * 1000 + 1

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        for stranger in [each for each in self._strangers if each.deadline <= now]:
            self._refuse(stranger, f"the handshake was not done within {handshake.LIMIT_S:g} s")
        for session in [each for each in self._sessions if each.deadline <= now]:
            self._end(session)

    def _watch(self, what: socket.socket | Child, events: int, called: Callable[[], None]) -> None:
        self._poll.register(what, events)
        self._watched[what.fileno()] = called

    def _forget(self, what: socket.socket | Child) -> None:
        """Before it is closed; nothing happens where it is not watched, or closed already."""
        if self._watched.pop(what.fileno(), None):
            self._poll.unregister(what)

    # -- strangers -----------------------------------------------------------------------------------------------

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, peer = listening.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._say(f"cannot accept a connection: {error.strerror}")
            time.sleep(OUT_OF_FDS_PAUSE_S)
            return
        if len(self._strangers) == MAX_STRANGERS:
            self._refuse(self._strangers[0], f"more than {MAX_STRANGERS} others have come without proving themselves")
        deadline = time.monotonic() + handshake.LIMIT_S
        stranger = _Stranger(sock, _name_of(peer), Handshake("server", self._token), deadline)
        self._strangers.append(stranger)
        sock.setblocking(False)
        self._watch(sock, select.POLLIN, partial(self._hear, stranger))
        self._answer(stranger, lambda: stranger.handshake.hello)

    def _hear(self, stranger: _Stranger) -> None:
        proof = stranger.handshake
        self._answer(stranger, lambda: proof.receive(stranger.sock.recv(proof.missing_bytes)))
        if stranger in self._strangers and not proof.missing_bytes:
            self._let_in(stranger)

    def _answer(self, stranger: _Stranger, words: Callable[[], bytes]) -> None:
        """Send what there is to say. It is a few bytes, which a new connection has room for."""
        try:
            stranger.sock.send(words())
        except BlockingIOError:
            pass  # woken up for nothing
        except AuthError as error:
            self._refuse(stranger, str(error))
        except OSError:
            self._refuse(stranger, str(stranger.handshake.hung_up()))

    def _refuse(self, stranger: _Stranger, reason: str) -> None:
        self._strangers.remove(stranger)
        self._forget(stranger.sock)
        stranger.sock.close()
        self._say(f"{stranger.name} refused: {reason}")

    # -- sessions ------------------------------------------------------------------------------------------------

    def _let_in(self, stranger: _Stranger) -> None:
        self._strangers.remove(stranger)
        self._forget(stranger.sock)
        sock = stranger.sock
        sock.setblocking(True)  # a property that the server's copy shares
        if sock.family != socket.AF_UNIX:
            tcp.tune(sock)
        argv = supervisor.server_argv(self._executable, "--fd", str(FIRST_PASSED_FD), "--no-import")
        try:
            child = Child(argv, self._variables, pass_fds=(sock.fileno(),))
        except OSError as error:
            self._say(f"{stranger.name} refused: its server cannot be started: {error}")
            _shut(sock)
            return
        session = _Session(sock, stranger.name, child, time.monotonic())
        self._sessions.append(session)
        self._watch(sock, HUNG_UP, partial(self._hang_up, session))
        self._watch(child, select.POLLIN, partial(self._see_end, session))
        self._say(f"{session.name} connected: server {child.pid}")

    def _hang_up(self, session: _Session) -> None:
        """Its client has gone, or is to go: a server that is well sees the end of the stream, and closes its env."""
        self._forget(session.sock)
        session.deadline = min(session.deadline, time.monotonic() + LEAVE_S)
        _shut(session.sock)

    def _see_end(self, session: _Session) -> None:
        if session.child.exit_code() is not None:
            self._end(session)

    def _end(self, session: _Session) -> None:
        """Kill its server, if it still runs. Then nothing of it is left."""
        self._sessions.remove(session)
        self._forget(session.child)
        self._forget(session.sock)
        rung = session.child.stop(0.0, 0.0)
        _shut(session.sock)
        after_s = time.monotonic() - session.begun
        self._say(
            f"{session.name} gone after {after_s:.1f} s: server {session.child.pid}, {_ending(session.child, rung)}"
        )

    def _hang_up_on_all(self) -> None:
        self._forget(self._woken)
        for stranger in list(self._strangers):
            self._refuse(stranger, "this server ends")
        for sock in self._sockets:
            self._forget(sock)
            sock.close()
        self._sockets = []
        for session in self._sessions:
            if session.deadline == math.inf:
                self._hang_up(session)


def _ending(child: Child, rung: Rung) -> str:
    """How a server ended; one that did so badly has its last words with it."""
    if rung != "ended by itself":
        return f"{rung}, since it did not end within {LEAVE_S:g} s of its client"
    exit_code = child.exit_code()
    lines = child.tail().splitlines()[-SHOWN_LINES:] if exit_code != 0 else []
    return "\n    ".join([ending(exit_code), *lines])


def _shut(sock: socket.socket) -> None:
    """End both directions for every process that holds the socket, then close this copy. Any number of times."""
    with contextlib.suppress(OSError):  # the other side was first, or it is closed already
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _name_of(sockaddr: object) -> str:
    """How a socket's address is said: ``tcp://host:port``, or the path of a Unix socket."""
    if isinstance(sockaddr, tuple):
        return tcp.address(*sockaddr[:2])
    return f"unix://{sockaddr}" if sockaddr else "a client on this machine"
