"""The guardian: one small process per client. It makes sure that no server outlives its client.

Rules of this file:

1. Standard library only, Python 3.6 and up, one thread. run_guardian.py runs it, under ``-I -S``. The first server of a
   client waits for this start, so this file and its siblings import only what starts quickly.
2. It loads its siblings in this folder by path and leaves nothing on sys.path or in sys.modules: forkserver.py loads
   it inside a simulator's interpreter.
3. It knows processes, signals and descriptors. It never knows what a server is for, or envs.toml.
4. It never waits for a client, a server or a user, except in poll() and for the rest of a request; that wait ends when
   the client ends.
5. It signals a pid only while that is its own child and not reaped: until then no other process can have that pid.

Command line::

    PYTHON -I -S .../run_guardian.py CLIENT_PID 4     fd 4 is a pidfd of the client
    PYTHON -I -S .../run_guardian.py CLIENT_PID       there is none, so the client must be the parent

In the first form it forks, writes a line to fd 3, ``pid N`` or ``errno N``, and exits; the child is the guardian. So
the guardian is not a child of the client, and the client's os.wait() does not wait for it.

Contract. fd 3 is the *control socket*, a stream, on which requests to start a server arrive. A request is a header with
the size of the rest, and descriptors: the server's *lifeline*, then those that become its fds 0, 1, 2, …. The rest is
texts, each ended by NUL: the number of arguments, the arguments, the working directory, a file to create now and to
remove after the server's end (or nothing), and the environment as NAME=VALUE.

On a lifeline the guardian sends lines: first ``pid N`` or ``errno N``; ``state WORD`` for each DIAGNOSE; last ``ended
CODE`` (negative: a signal), when nothing of the server is left. It receives orders of one byte each; ``Order`` lists
them. The end of a lifeline is an order to kill.

Theory of operation. A server cannot guard itself. It does not notice the end of a stream while C code holds the GIL,
while it is stopped, or while a forked sibling holds the other end. PR_SET_PDEATHSIG would kill a healthy server when
the *thread* that started it ends. The guardian has one thread and watches the client with a pidfd. It is a subreaper:
processes that a dead server leaves running become its children. So every child that it did not start belongs to a dead
server and is killed. Each server is a subreaper too, so the daemons of a live server stay below that server.

The life of a server here: ``_start`` receives the request and ``begin`` starts the program. The server is in
``_servers`` until its process is reaped, and in ``_lifelines`` until all processes that it started have ended too
(``_sweep``). Only then does the guardian report its end. When the client ends, all servers are killed, and the guardian
ends when both tables are empty.

A client that is itself a subreaper, or process 1 of a container, gets the guardian back as a child (``is_adopted``).
Such a guardian ends with its last server, and the client's next server gets another one.

Without these system calls (macOS, old kernels), or with the word ``portable``, which exists for trying that out, three
means remain: the end of the stream, a regular look at the parent's pid, and the kill of a process group.

What must change together: the contract above with guardian_client.py and forkserver.py (a fork server keeps the same
contract for servers that it forks); the class below with remote_guardian.py (which derives from it).
"""

# Not socket, which also imports selectors and collections: that takes longer than all other imports here.
import _socket
import enum
import errno
import os
import select
import signal
import struct
import time
import types
from importlib.machinery import SourceFileLoader

if __package__:
    from gym_service_launcher.standalone import client_watch, fd_passing, procfs, spawning
else:

    def _load_sibling(name):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        module = types.ModuleType("gym_service_" + name)
        SourceFileLoader(module.__name__, path).exec_module(module)
        return module

    siblings = ("client_watch", "fd_passing", "procfs", "spawning")
    client_watch, fd_passing, procfs, spawning = map(_load_sibling, siblings)

CONTROL_FD = 3
HEADER = struct.Struct("<I")
LEAST_FDS, MAX_FDS = 4, 16  # at least a lifeline, stdin, stdout and stderr
# How long to observe the main thread of a silent server, and how much of that it must run to be called busy.
OBSERVE_S, BUSY_S = 0.1, 0.01
# The time between two looks at the parent's pid, where nothing reports the client's end, and at /proc, where no
# descriptor is free to read it.
POLL_S = 0.25
# Makes a server print its Python stack. Simulators do not use this signal themselves. Servers get its number on their
# command line.
DUMP_SIGNAL = signal.SIGRTMAX - 2 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2


class Order(enum.Enum):
    """The orders that a client can give about one server, by their byte on the lifeline."""

    TERMINATE = b"t"  # SIGTERM to the server
    KILL = b"k"  # SIGKILL to the server and its process group
    DIAGNOSE = b"w"  # observe the main thread for OBSERVE_S, then send ``state WORD``
    DUMP_STACK = b"d"  # DUMP_SIGNAL to the server


def main(client_pid, how=""):
    pidfd = int(how) if how.isdigit() else -1
    spawning.give_up_terminal()
    if pidfd >= 0:
        client_watch.leave_parent(CONTROL_FD)
    os.closerange(max(CONTROL_FD, pidfd) + 1, os.sysconf("SC_OPEN_MAX"))  # the client's C libraries may leave some
    os.chdir("/")
    for fd in (CONTROL_FD, pidfd):
        if fd >= 0:
            os.set_inheritable(fd, False)
    is_adopted = pidfd >= 0 and os.getppid() == int(client_pid)
    client = client_watch.Client(int(client_pid), pidfd, is_parent=is_adopted or pidfd < 0)
    guardian = Guardian(unix_socket(CONTROL_FD), client, portable=how == "portable")
    guardian.ends_when_idle = is_adopted
    guardian.run()


class Guardian:
    """Waits for everything in one poll(), and never does more than a little at a time."""

    def __init__(self, control, client, spawn=None, portable=False):
        """Take over the signals. ``spawn`` replaces the usual way to start a server, which executes a program."""
        control.settimeout(POLL_S)
        self._control = control
        self._client = client
        self.ends_when_idle = False
        self._has_begun = False
        self._spawn = spawn or spawning.spawn
        self._poll = select.poll()
        self._servers = {}  # by pid, while they run
        self._lifelines = {}  # by fd, until nothing of their server is left
        self._client_gone = False
        self._must_sweep = False  # again, although nothing has happened
        self._prctl = None if portable else spawning.find_prctl()
        if self._prctl:
            self._prctl(spawning.PR_SET_CHILD_SUBREAPER, 1)
        self._wakeup, self._waker = os.pipe()
        for fd in (self._wakeup, self._waker):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._waker)
        numbers = [getattr(signal, name) for name in spawning.IGNORED]
        self._handlers = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for fd in (control.fileno(), self._wakeup, client.pidfd):
            if fd >= 0:
                self._poll.register(fd, select.POLLIN)
        self._check_client()

    def run(self):
        """Work until the client has ended, or is idle if that is enough, and nothing of its servers is left."""
        while self._servers or self._lifelines or not (self._client_gone or (self.ends_when_idle and self._has_begun)):
            for fd, _ in self._poll.poll(self._wait_ms()):
                self._handle(fd)
            self._check_client()
            for server in self._servers.values():
                server.finish_diagnosis_if_due()
                if self._client_gone:
                    server.kill()
            self._reap()
            self._sweep()

    def detach(self):
        """Stop being a guardian, in a forked child. Does not affect the parent."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for server in self._lifelines.values():
            server.lifeline.close()
        self._control.close()
        for fd in (self._wakeup, self._waker, self._client.pidfd):
            if fd >= 0:
                os.close(fd)

    def _handle(self, fd):
        if fd == self._wakeup:
            os.read(fd, 4096)
        elif fd == self._control.fileno():
            self._start()
        elif fd == self._client.pidfd:
            self._lose_client()
        elif fd in self._lifelines:
            self._receive_orders(self._lifelines[fd])

    def _wait_ms(self):
        """How long poll() may wait; None for no limit."""
        dues = [server.diagnosis_due for server in self._servers.values() if server.diagnosis_due is not None]
        if self._must_sweep or (self._client.must_be_polled and not self._client_gone):
            dues.append(time.monotonic() + POLL_S)
        return max(0, min(dues) - time.monotonic()) * 1000 if dues else None

    def _check_client(self):
        if not self._client_gone and self._client.has_ended():
            self._lose_client()

    def _lose_client(self):
        if not self._client_gone:
            self._client_gone = True
            for fd in (self._control.fileno(), self._client.pidfd):
                if fd >= 0:
                    self._poll.unregister(fd)

    def _start(self):
        try:
            request = receive_request(self._control, self._client)
        except OSError:  # the client ended before the request was complete
            request = None
        if request is None:
            self._lose_client()
            return
        all_fds, is_cut, (argv, cwd, record, env) = request
        if not all_fds:
            return  # there is no lifeline to answer on; the client sees the end of its own
        lifeline_fd, *fds = all_fds
        server = Server(unix_socket(lifeline_fd), record)
        try:
            if is_cut:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self.begin(server, argv, cwd, env, fds)
        except OSError as error:
            self._lifelines.pop(lifeline_fd, None)
            server.part("errno %d" % error.errno)
        finally:
            for fd in fds:
                os.close(fd)

    def begin(self, server, argv, cwd, env, fds):
        """Start the server, with the descriptors as its 0, 1, 2, …. Raises OSError."""
        self._has_begun = True
        self._lifelines[server.lifeline.fileno()] = server
        server.make_record()
        server.pid = self._spawn(argv, cwd, env, fds, self._prctl)
        server.say("pid %d" % server.pid)
        self._servers[server.pid] = server
        self._poll.register(server.lifeline, select.POLLIN)

    def _receive_orders(self, server):
        orders = quietly(server.lifeline.recv, 64) or b""
        if not orders:
            self._poll.unregister(server.lifeline)
            server.lifeline_ended = True
            server.kill()
        for byte in orders:
            server.obey(bytes([byte]))

    def _reap(self):
        """Record each child that has ended, and kill the rest of its process group."""
        while True:
            pid, status = self._reap_one()
            if not pid:
                return
            server = self._servers.pop(pid, None)
            if server:
                server.exit_code = spawning.exit_code(status)

    def _reap_one(self):
        """The pid and status of a child that has ended; (0, 0) if there is none."""
        try:
            if not hasattr(os, "waitid"):  # macOS before Python 3.13 cannot look before it reaps
                return os.waitpid(-1, os.WNOHANG)
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return 0, 0
            if ended.si_pid in self._servers:  # before it is reaped: until then no other process can have its pid
                self._servers[ended.si_pid].kill_group()
            return os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            return 0, 0

    def _sweep(self):
        """Kill the processes that dead servers have left to this one. When none is left, report the servers' ends."""
        try:
            strays = [pid for pid in procfs.children() if pid not in self._servers] if self._prctl else []
            self._must_sweep = False
        except OSError:  # they are unknown until a descriptor is free
            self._must_sweep = True
            return
        for pid in strays:
            quietly(os.kill, pid, signal.SIGKILL)
        if strays:
            return  # their ends wake this process, which then sweeps what they leave
        for fd, server in list(self._lifelines.items()):
            if server.exit_code is not None:
                if not server.lifeline_ended:
                    self._poll.unregister(fd)
                del self._lifelines[fd]
                server.part("ended %d" % server.exit_code)


class Server:
    """One server and this end of its lifeline."""

    def __init__(self, lifeline, record):
        self.lifeline = lifeline
        self.lifeline_ended = False
        self.pid = 0
        self.exit_code = None  # None until its process is reaped
        self.diagnosis_due = None  # the time of the second look at its main thread
        self._first_look = None
        self._record = record

    def obey(self, order):
        """Carry out a byte of the lifeline; do nothing for an unknown byte or if the process has ended."""
        if self.exit_code is not None:
            return
        if order == Order.TERMINATE.value:
            quietly(os.kill, self.pid, signal.SIGTERM)
        elif order == Order.KILL.value:
            self.kill()
        elif order == Order.DIAGNOSE.value:
            self._first_look, self.diagnosis_due = procfs.main_thread(self.pid), time.monotonic() + OBSERVE_S
        elif order == Order.DUMP_STACK.value:
            quietly(os.kill, self.pid, DUMP_SIGNAL)

    def finish_diagnosis_if_due(self):
        """Report the state of the main thread once it has been observed for long enough."""
        if self.diagnosis_due is not None and self.diagnosis_due <= time.monotonic():
            self.diagnosis_due = None
            self.say("state %s" % classify_main_thread(self._first_look, procfs.main_thread(self.pid)))

    def kill(self):
        if self.exit_code is None:
            self.kill_group()
            quietly(os.kill, self.pid, signal.SIGKILL)  # it may have left its group

    def kill_group(self):
        quietly(os.kill, -self.pid, signal.SIGKILL)

    def make_record(self):
        """Create the empty file for the client to write. The guardian creates it because the guardian removes it."""
        fd = quietly(os.open, self._record, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        if fd is not None:
            os.close(fd)

    def part(self, line):
        """Remove the record, then send the last line.

        Records whose names begin with this one's belong to servers that this one has forked. If it was killed, it could
        not remove them.
        """
        folder, name = os.path.split(self._record)
        stem = name.rpartition(b".")[0]
        for other in (quietly(os.listdir, folder) or []) if stem else []:
            if other.startswith(stem):
                quietly(os.unlink, os.path.join(folder, other))
        self.say(line)
        self.lifeline.close()

    def say(self, line):
        quietly(self.lifeline.send, line.encode("ascii") + b"\n", getattr(_socket, "MSG_DONTWAIT", 0))


def classify_main_thread(first, second):
    """The state of a process, from two looks at its main thread (``procfs.main_thread``), OBSERVE_S apart."""
    if first is None or second is None:
        return "unknown"
    if second[0] in "Tt":
        return "stopped"
    ran_s = second[1] - first[1]
    return "busy" if ran_s >= BUSY_S or first[0] == second[0] == "R" else "blocked"


def receive_request(control, client):
    """(descriptors, whether some are missing, (argv, cwd, record, env)); None if the client has ended."""
    data, fds, is_cut = fd_passing.receive(control, HEADER.size, MAX_FDS)
    data += _receive_all(control, HEADER.size - len(data), client) if data else b""
    rest = _receive_all(control, HEADER.unpack(data)[0], client) if len(data) == HEADER.size else b""
    if not rest:
        return None
    return fds, is_cut or len(fds) < LEAST_FDS, spawning.parse_texts(rest)


def _receive_all(control, size, client):
    """``size`` bytes; empty if the client has ended, even if a forked child of it holds its end open."""
    data = b""
    while len(data) < size:
        try:
            piece = control.recv(size - len(data))
        except _socket.timeout:  # an alias of TimeoutError only since Python 3.10
            if client.has_ended():
                return b""
            continue
        if not piece:
            return b""
        data += piece
    return data


def unix_socket(fd):
    """A socket from a descriptor. Names the family, since Python before 3.7 would assume AF_INET."""
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)


def quietly(call, *arguments):
    """The call's result; None if it fails because the process, the file or the peer no longer exists."""
    try:
        return call(*arguments)
    except OSError:
        return None
