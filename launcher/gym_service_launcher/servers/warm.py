"""Warm fork servers: those that outlive the program that orders them (``keep_warm_s``). This program's end of them.

Knows the contract of ``standalone/warm_guardian.py``, and where its socket is. Never knows what a recipe says. Python
3.10 and up, Linux. Elsewhere, or if the socket cannot be used, the fork server ends with this program.

Several programs may start at once. Each connects to the socket. If nobody listens, it binds the socket under the lock
of the folder and starts the guardian with it. Only one of them can, and the others connect to that one's. The guardian
tells one client to order the fork server, which all of them then share.
"""

import errno
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gym_service_launcher.errors import GymServiceError, ServerStartError
from gym_service_launcher.net import unix
from gym_service_launcher.processes import guardian_client, guardian_process
from gym_service_launcher.processes.child import Child
from gym_service_launcher.processes.forked_copies import close_in_child, refuse_child
from gym_service_launcher.processes.forkservers import PROGRAM, ForkServer, Plan
from gym_service_launcher.processes.held_lock import while_held
from gym_service_launcher.servers import warm_key
from gym_service_launcher.standalone import guardian, interrupts, procfs, warm_connection, warm_guardian

# A warm fork server that nobody uses ends while less than this share of the memory is available.
LEAST_MEMORY_SHARE = 0.1
# How long a guardian may take to start, and to say that it is there.
START_S, HELLO_S = 30.0, 10.0
# How often to begin again within so many seconds, where the guardian ends or the files change.
ATTEMPTS, ATTEMPTS_S = 4, 60.0


class WarmForkServer:
    """A connection to a warm fork server, in the place of a ``ForkServer`` of this program."""

    not_kept = ""
    # The records of its servers are not removed with its own: they may outlive it.
    record: Path | None = None

    def __init__(self, plan: Plan, name: str) -> None:
        """Connect, and start what is not there. Raises OSError or GymServiceError."""
        self.plan = plan
        self.holders: set[object] = set()
        self.own_variables = warm_key.terminal_variables(dict(plan.env))
        self.problem: str | None = None
        self.is_unforkable = False
        self.child: Child | None = None  # while it imports, where this program has ordered it
        self._name = name
        self._path = warm_key.socket_path(plan)
        unix.check_length(self._path)
        self._lock = threading.RLock()
        self._attempts: list[float] = []  # when they were made
        self._image_pid = self._guardian_pid = 0
        self._connect()

    @property
    def pid(self) -> int:
        """For people to read."""
        return self._image_pid

    def _connect(self) -> None:
        process_id = os.getpid()
        for _ in range(ATTEMPTS):
            refuse_child(process_id)
            try:
                self._socket = unix.connect(str(self._path), HELLO_S)
            except (FileNotFoundError, NotADirectoryError, ConnectionError) as error:
                interrupts.raise_if_from_handler(error)
                self._start_guardian(process_id)
                continue
            close_in_child(self._socket)
            try:
                refuse_child(process_id)
                self._greet()
                return
            except ConnectionError as error:  # it has ended meanwhile
                self._socket.close()
                interrupts.raise_if_from_handler(error)
            except BaseException:
                self._socket.close()
                raise
        raise OSError(errno.EAGAIN, f"the guardian of a warm fork server ends at once; its socket is {self._path}")

    def _greet(self) -> None:
        self._received = b""
        self._ask()
        hello = self._line(time.monotonic() + HELLO_S)
        if hello is None:
            raise OSError(errno.ETIMEDOUT, f"the guardian of a warm fork server does not answer at {self._path}")
        self._guardian_pid = int(hello.split()[1])

    def _start_guardian(self, process_id: int) -> None:
        try:
            listener = unix.bind(self._path)
        except ServerStartError:  # another program was first
            return
        close_in_child(listener)
        with listener:
            refuse_child(process_id)
            try:
                _start_guardian(listener, self._path, str(self.plan.executable), process_id)
            except BaseException:
                if process_id == os.getpid():
                    self._path.unlink(missing_ok=True)
                raise

    def _ask(self) -> None:
        pidfd = os.pidfd_open(os.getpid())
        try:
            self._send(warm_connection.ASK, [pidfd], str(self.plan.keep_warm_s).encode())
        finally:
            os.close(pidfd)

    def _send(self, kind: bytes, fds: Sequence[int], text: bytes) -> None:
        with self._lock:
            warm_connection.send(self._socket, kind, fds, text)

    # -- what a ForkServer has ---------------------------------------------------------------------------------------

    def wait(self, timeout_s: float) -> bool:
        """Wait until ``problem`` tells whether it forks; False where it is not known within ``timeout_s`` seconds."""
        return while_held(self._lock, timeout_s, partial(self._wait, time.monotonic() + timeout_s))

    def _wait(self, deadline: float) -> bool:
        while self.problem is None:
            if not self._learn(deadline):
                return False
        return True

    def _learn(self, deadline: float) -> bool:
        """Take the next line of the guardian. False where none comes in time."""
        try:
            line = self._line(deadline)
            if line is None:
                return False
            self._obey(line)
        except ConnectionError as error:
            interrupts.raise_if_from_handler(error)
            self._reconnect()
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            self.problem = _reason(error)
        return True

    def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == warm_guardian.IMPORT:
            argv = [*self.plan.command, str(PROGRAM), str(self.plan.server_program), self.plan.recipe]
            self.child = Child(
                [*argv, repr(time.time())],
                dict(self.plan.env),
                self.plan.cwd,
                show=self.plan.show,
                name=f"warm:{self._name}",
                executable=self.plan.executable,
                spawner=_Orders(self),
                is_warm=True,
            )
        elif word == warm_guardian.READY:
            self._image_pid, self.problem = int(rest), ""
            self._release_child()
        elif word != "here":
            self.problem = rest
            self.is_unforkable = word == "unforkable"
            self._end_child()

    def _release_child(self) -> None:
        """Leave the fork server to its guardian."""
        child, self.child = self.child, None
        if child:
            child.leave()

    def _end_child(self) -> None:
        child, self.child = self.child, None
        if child:
            child.stop(guardian_client.ANSWER_S, 0.0)

    def _line(self, deadline: float) -> str | None:
        """The next line; None where none comes in time. Raises ConnectionError where the guardian has ended."""
        while b"\n" not in self._received:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            if self.child:
                poll.register(self.child, select.POLLIN)
            remaining_s = min(deadline - time.monotonic(), guardian_client.LONGEST_WAIT_S)
            ready = [fd for fd, _ in poll.poll(max(0.0, remaining_s) * 1000)]
            if not ready:
                return None
            if self._socket.fileno() in ready:
                self._read()
            elif self.child and (code := self.child.exit_code(guardian_client.ANSWER_S)) is not None:
                return f"failed the process that imported it ended: {self.child.describe_exit(code)}"
        line, _, self._received = self._received.partition(b"\n")
        return line.decode("utf-8", "replace")

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the guardian of the warm fork server has ended")
        self._received += data

    def _reconnect(self) -> None:
        self._end_child()
        self._socket.close()
        try:
            if self._has_tried_enough():
                raise OSError(errno.EAGAIN, "the guardian of its warm fork server has ended again and again")
            self._connect()
        except (OSError, GymServiceError) as error:
            interrupts.raise_if_from_handler(error)
            self.problem = _reason(error)

    def _has_tried_enough(self) -> bool:
        now = time.monotonic()
        self._attempts = [*(at for at in self._attempts if at > now - ATTEMPTS_S), now]
        return len(self._attempts) > ATTEMPTS

    def renew(self, error: OSError) -> bool:
        """After a server was not forked: whether ``wait`` can lead to a fork server of today's files.

        False for every other error, and where the files keep changing.
        """
        is_gone = isinstance(error, (guardian_client.GuardianDied, ConnectionError)) or error.errno == errno.ESTALE
        if not is_gone or self._has_tried_enough():
            return False
        with self._lock, interrupts.suppress(ConnectionError):  # where it has ended, wait() notices
            self.problem = None
            self._ask()
        return True

    def request(self, fds: Sequence[int], texts: bytes) -> None:
        self._send(warm_connection.REQUEST, fds, texts)

    def has_died(self) -> bool:
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLIN)
        except ValueError as error:  # closed here
            interrupts.raise_if_from_handler(error)
            return True
        return bool(poll.poll(0))

    def is_stopped(self) -> bool:
        processes = map(procfs.process, filter(None, (self._guardian_pid, self._image_pid)))
        return any(process is not None and process.state in "Tt" for process in processes)

    def ending(self) -> str:
        """What is to be said of it where one of its servers has died."""
        if self.has_died():
            return f"\n  the guardian of its warm fork server, process {self._guardian_pid}, has ended"
        return ""

    def end(self, ask_s: float) -> None:
        """Disconnect. The fork server stays, unless it has not imported yet and this program has ordered it."""
        self._socket.close()
        child, self.child = self.child, None
        if child:
            child.stop(0.0, 0.0)

    def forget(self) -> None:
        """In a forked child of this process: close the copy of what belongs to the parent."""
        self._socket.close()


class _Orders:
    """The ``ServerSpawner`` of the fork server itself."""

    record: Path | None = None

    def __init__(self, fork_server: WarmForkServer) -> None:
        self._fork_server = fork_server
        self.has_died = fork_server.has_died
        self.is_stopped = fork_server.is_stopped

    def request(self, fds: Sequence[int], texts: bytes) -> None:
        self._fork_server._send(warm_connection.ORDER, fds, texts)


def start(plan: Plan, name: str) -> "ForkServer | WarmForkServer":
    """The fork server of a plan. Where it cannot be kept, it is one of this program, and ``not_kept`` says why.

    Blocks for some 50 ms where it starts a guardian. Raises OSError.
    """
    if plan.keep_warm_s is None:
        return ForkServer(plan, name)
    try:
        if sys.platform != "linux" or not procfs.is_ours():
            raise OSError("this system cannot keep it: it has no /proc, or that of another PID namespace")
        return WarmForkServer(plan, name)
    except (OSError, GymServiceError) as error:
        interrupts.raise_if_from_handler(error)
        fork_server = ForkServer(plan, name)
        fork_server.not_kept = _reason(error)
        return fork_server


def _reason(error: Exception) -> str:
    """What an error says, in a part of a sentence."""
    text = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    where = getattr(error, "filename", None)
    return f"{text}: {where}" if where else text


def _start_guardian(listener: socket.socket, path: Path, executable: str, process_id: int) -> None:
    """Start the guardian of a warm fork server. Waits until it is no child of this process. Raises OSError."""
    python = guardian_process.guardian_python(executable)
    argv = [python, "-I", "-S", warm_guardian.__file__, str(path), repr(LEAST_MEMORY_SHARE)]
    pids: list[int] = []
    told, teller = os.pipe()
    with open(told, "rb") as file:
        close_in_child(file)
        try:
            files = {guardian.CONTROL_FD: teller, warm_guardian.LISTENER_FD: listener.fileno()}
            try:
                guardian_process.spawn_detached(argv, files, pids)
            finally:
                os.close(teller)
            refuse_child(process_id)
            poll = select.poll()
            poll.register(file, select.POLLIN)
            said = file.readline(64).split() if poll.poll(START_S * 1000) else []
            if not said:
                refuse_child(process_id)
                os.kill(pids[0], signal.SIGKILL)
        finally:
            for pid in pids:
                with interrupts.suppress(ChildProcessError):  # ignored SIGCHLD, or a wait for any child has reaped it
                    os.waitpid(pid, 0)
    if said[:1] != [b"pid"]:
        number = int(said[1]) if said[:1] == [b"errno"] else errno.ETIMEDOUT
        raise OSError(number, f"the guardian of a warm fork server did not start: {os.strerror(number)}", python)
