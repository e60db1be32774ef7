"""The guardian: one small process per client, which sees to it that no server outlives its client.

Run by path, alone: standard library only, one thread, Python 3.6 and up::

    PYTHON -I -S .../guardian.py 3 CLIENT_PID [portable]

Knows processes and signals. Never knows what a server is for, nor envs.toml. A nursery (forkserver.py) is a guardian of
its own servers: it keeps to the same contract, but for how it starts one.

Contract. On the control socket, fd 3, a stream, come requests to start a server: a header with the size of the rest,
and beside its first byte the descriptors: the server's *lifeline*, then what become its fds 0, 1, 2, 3 …. The rest is
texts, each ended by NUL: the number of arguments, the arguments, the working directory, a file to make and to remove
when all has ended (or nothing), the environment as NAME=VALUE.

On a lifeline the guardian says, a line each: ``pid N`` or ``errno N`` first, ``why WORD`` when asked, ``ended CODE`` at
last (negative: a signal), once nothing of the server is left. It hears, a byte each: ``t`` SIGTERM, ``k`` kill,
``w`` why are you silent, ``d`` dump your Python stack. The lifeline's end is an order to kill.

Why a process of its own. The end of a stream is not noticed by a server whose C code holds the GIL, nor by one that is
stopped, nor while a forked sibling holds the socket; PR_SET_PDEATHSIG kills a healthy server when the *thread* that
started it ends. A guardian has one thread, watches a pidfd of the client, and is a subreaper, so that daemons of a dead
server become its children: whatever child it did not start belongs to a dead server, and is killed. Each server is a
subreaper too, so that the daemons of a live one stay below it. Where a system lacks these calls (macOS), or with the
word ``portable``, which is for trying that out, what remains is the end of the stream, a look at the parent's pid now
and then, and the kill of a process group. At the other end of a command ``far.py`` does this work with this class.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time

CONTROL_FD = 3
HEADER = struct.Struct("<I")
LEAST_FDS, MAX_FDS = 4, 16  # a lifeline, stdin, stdout and stderr at least
CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# How long a silent server is looked at, and how much of that its main thread must run to be called busy (seconds).
LOOK_S, BUSY_S = 0.1, 0.01
PARENT_S = 0.25  # between two looks at who the parent is, where nothing tells of its end
# Not one that a simulator would use for itself; gym_service/server/loop.py has faulthandler listen to it.
DUMP_SIGNAL = signal.SIGRTMAX - 2 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2
IGNORED = ("SIGINT", "SIGHUP", "SIGPIPE", "SIGTTOU", "SIGTTIN")


def main(arguments):
    os.closerange(CONTROL_FD + 1, os.sysconf("SC_OPEN_MAX"))  # a C library of the client may have left some open
    os.chdir("/")
    os.set_inheritable(CONTROL_FD, False)
    Guardian(unix_socket(int(arguments[0])), int(arguments[1]), portable="portable" in arguments[2:]).run()


class Guardian:
    """Waits on everything at once, and does one small thing at a time."""

    def __init__(self, control, client_pid, spawn=None, portable=False):
        """Take the signals over. ``spawn`` starts a server in another way than by a program of its own."""
        control.settimeout(PARENT_S)
        self._control = control
        self._client_pid = client_pid
        self._spawn = spawn or _spawn
        self._poll = select.poll()
        self._servers = {}  # by pid, while they run
        self._lifelines = {}  # by fd, until their server has been swept up
        self._client_gone = False
        self._prctl = None if portable else _find_prctl()
        if self._prctl:
            self._prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._wakeup, self._waker = os.pipe()
        for fd in (self._wakeup, self._waker):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._waker)
        numbers = [getattr(signal, name) for name in IGNORED]
        self._handlers = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._client = -1 if portable else _pidfd(client_pid)
        for fd in (control.fileno(), self._wakeup, self._client):
            if fd >= 0:
                self._poll.register(fd, select.POLLIN)
        self._look_for_client()  # it may have died before anybody watched it

    def run(self):
        """Until the client is gone and nothing of its servers is left."""
        while not self._client_gone or self._servers or self._lifelines:
            for fd, _ in self._poll.poll(self._wait_ms()):
                self._handle(fd)
            self._look_for_client()
            for server in self._servers.values():
                server.end_look_if_due()
                if self._client_gone:
                    server.kill()
            self._reap()
            self._sweep()

    def detach(self):
        """Be no guardian any more: in a forked child, which takes nothing from its parent by it."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for server in self._lifelines.values():
            server.lifeline.close()
        self._control.close()
        for fd in (self._wakeup, self._waker, self._client):
            if fd >= 0:
                os.close(fd)

    def _handle(self, fd):
        if fd == self._wakeup:
            os.read(fd, 4096)
        elif fd == self._control.fileno():
            self._start()
        elif fd == self._client:
            self._lose_client()
        elif fd in self._lifelines:
            self._hear(self._lifelines[fd])

    def _wait_ms(self):
        """How long there is nothing to do, if nothing happens."""
        dues = [server.look_due for server in self._servers.values() if server.look_due is not None]
        if self._client < 0 and not self._client_gone:
            dues.append(time.monotonic() + PARENT_S)
        return max(0, min(dues) - time.monotonic()) * 1000 if dues else None

    def _look_for_client(self):
        if not self._client_gone and os.getppid() != self._client_pid:
            self._lose_client()

    def _lose_client(self):
        self._client_gone = True
        for fd in (self._control.fileno(), self._client):
            if fd >= 0:
                self._poll.unregister(fd)
        self._client = -1

    def _start(self):
        request = _receive_request(self._control, self._client_pid)
        if request is None:
            self._lose_client()
            return
        all_fds, is_cut, (argv, cwd, record, env) = request
        if not all_fds:
            return  # not even a lifeline to say so on: that it has ended says it
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
        """Have the server run, with the descriptors as its 0, 1, 2, …. Raises OSError."""
        self._lifelines[server.lifeline.fileno()] = server
        server.make_record()
        server.pid = self._spawn(argv, cwd, env, fds, self._prctl)
        server.say("pid %d" % server.pid)
        self._servers[server.pid] = server
        self._poll.register(server.lifeline, select.POLLIN)

    def _hear(self, server):
        orders = _quietly(server.lifeline.recv, 64) or b""
        if not orders:
            self._poll.unregister(server.lifeline)
            server.heard_end = True
            server.kill()
        for order in orders.decode("ascii", "replace"):
            server.obey(order)

    def _reap(self):
        """Take note of every child that has ended, and kill what is left of its process group."""
        while True:
            pid, status = self._reap_one()
            if not pid:
                return
            server = self._servers.pop(pid, None)
            if server:
                server.exit_code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _reap_one(self):
        """The pid and status of a child that has ended; (0, 0) where there is none."""
        try:
            if not hasattr(os, "waitid"):  # macOS before Python 3.13 cannot look before it reaps
                return os.waitpid(-1, os.WNOHANG)
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return 0, 0
            if ended.si_pid in self._servers:  # before it is reaped: until then its id is nobody else's
                self._servers[ended.si_pid].kill_group()
            return os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            return 0, 0

    def _sweep(self):
        """Kill whatever fell to this process from dead servers; once nothing is left, tell who waits for it."""
        strays = [pid for pid in children() if pid not in self._servers] if self._prctl else []
        for pid in strays:
            _quietly(os.kill, pid, signal.SIGKILL)
        if strays:
            return  # their ends wake us, and what falls to us from them is swept then
        for fd, server in list(self._lifelines.items()):
            if server.exit_code is not None:
                if not server.heard_end:
                    self._poll.unregister(fd)
                del self._lifelines[fd]
                server.part("ended %d" % server.exit_code)


class Server:
    """One server and its lifeline. A child that is not reaped yet: its pid is nobody else's."""

    def __init__(self, lifeline, record):
        self.lifeline = lifeline
        self._record = record
        self.pid = 0
        self.exit_code = None
        self.heard_end = False
        self.look_due = None  # when the look at why it is silent ends
        self._seen = None

    def obey(self, order):
        if self.exit_code is not None:
            return
        if order == "t":
            _quietly(os.kill, self.pid, signal.SIGTERM)
        elif order == "k":
            self.kill()
        elif order == "w":
            # And once more LOOK_S later: nobody waits here meanwhile.
            self._seen, self.look_due = _main_thread(self.pid), time.monotonic() + LOOK_S
        elif order == "d":
            _quietly(os.kill, self.pid, DUMP_SIGNAL)

    def end_look_if_due(self):
        """Say why it is silent, once the second look is due."""
        if self.look_due is not None and self.look_due <= time.monotonic():
            self.look_due = None
            self.say("why %s" % classify_main_thread(self._seen, _main_thread(self.pid)))

    def kill(self):
        if self.exit_code is None:
            self.kill_group()
            _quietly(os.kill, self.pid, signal.SIGKILL)  # also if it has left its group

    def kill_group(self):
        _quietly(os.kill, -self.pid, signal.SIGKILL)

    def make_record(self):
        """Make the empty file that the client writes into: whoever makes it must be there to remove it."""
        fd = _quietly(os.open, self._record, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        if fd is not None:
            os.close(fd)

    def part(self, line):
        """Say the last line on the lifeline, once the files that say that this server runs are gone.

        Those whose names begin like its own are of servers that it was the guardian of: killed, it removed none.
        """
        folder, name = os.path.split(self._record)
        stem = name.rpartition(b".")[0]
        for other in (_quietly(os.listdir, folder) or []) if stem else []:
            if other.startswith(stem):
                _quietly(os.unlink, os.path.join(folder, other))
        self.say(line)
        self.lifeline.close()

    def say(self, line):
        _quietly(self.lifeline.send, line.encode("ascii") + b"\n", getattr(socket, "MSG_DONTWAIT", 0))


def classify_main_thread(first, second):
    """Why a process says nothing, from two looks at its main thread; ``unknown`` where there is no /proc."""
    if first is None or second is None:
        return "unknown"
    if second[0] in "Tt":
        return "stopped"
    ran_s = second[1] - first[1]
    return "busy" if ran_s >= BUSY_S or first[0] == second[0] == "R" else "blocked"


def _main_thread(pid):
    """(state, seconds that it ran) of a process's main thread, or None."""
    task = "/proc/%d/task/%d/" % (pid, pid)
    fields = _stat(task)
    if not fields:
        return None
    try:
        with open(task + "schedstat") as file:
            return fields[0], int(file.read().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):  # a kernel without it, or an end just now: the clock ticks then
        return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stat(folder):
    """The fields of a stat file of /proc from the state on; none where there is no such file."""
    try:
        with open(folder + "stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _receive_request(control, client_pid):
    """(descriptors, whether some are missing, (argv, cwd, record, env)); None where the client is gone."""
    data, ancillary, flags, _ = control.recvmsg(HEADER.size, socket.CMSG_SPACE(MAX_FDS * 4), CLOEXEC)
    fds = []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += struct.unpack("%di" % (len(content) // 4), content[: len(content) // 4 * 4])
    for fd in fds:
        os.set_inheritable(fd, False)
    data += _receive_all(control, HEADER.size - len(data), client_pid) if data else b""
    rest = _receive_all(control, HEADER.unpack(data)[0], client_pid) if len(data) == HEADER.size else b""
    if not rest:
        return None
    count, *texts = rest.split(b"\0")[:-1]
    argv, (cwd, record, *env) = texts[: int(count)], texts[int(count) :]
    # Descriptors beyond this process's limit are dropped by the kernel.
    is_cut = bool(flags & socket.MSG_CTRUNC) or len(fds) < LEAST_FDS
    return fds, is_cut, (argv, cwd, record, dict(item.split(b"=", 1) for item in env))


def _receive_all(control, size, client_pid):
    """So many bytes; none where the client has died, though a forked child of it holds its end open."""
    data = b""
    while len(data) < size:
        try:
            piece = control.recv(size - len(data))
        except TimeoutError:
            if os.getppid() == client_pid:
                continue
            return b""
        if not piece:
            return b""
        data += piece
    return data


def _spawn(argv, cwd, env, fds, prctl):
    """Start a program with the descriptors as its 0, 1, 2, …, in a session of its own. Raises OSError."""
    guardian = os.getpid()
    failed, told = os.pipe()  # closed by a successful exec
    with open(failed, "rb") as file:
        try:
            pid = os.fork()
            if pid == 0:
                try:
                    _become(argv, cwd, env, fds, prctl, guardian)
                except OSError as error:
                    os.write(told, b"%d" % error.errno)
                finally:
                    os._exit(127)
        finally:
            os.close(told)
        number = file.read()
    if number:
        os.waitpid(pid, 0)
        raise OSError(int(number), os.strerror(int(number)))
    return pid


def _become(argv, cwd, env, fds, prctl, guardian):
    settle(prctl, guardian)
    for name in (*IGNORED, "SIGCHLD"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    place(fds)
    os.chdir(cwd)
    os.execve(argv[0], argv, env)


def settle(prctl, guardian):
    """Be a server to its guardian: in a session of its own, above its daemons, dead if that one dies."""
    os.setsid()
    if prctl:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != guardian:  # it died before the line above, and will send nothing any more
            raise OSError(errno.ESRCH, "the guardian has died")


def place(fds):
    """Give descriptors the numbers 0, 1, 2, …."""
    # First out of the way of the numbers that they are to have, then onto them.
    apart = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(fds)) for fd in fds]
    for number, fd in enumerate(apart):
        os.dup2(fd, number)
        os.close(fd)


def unix_socket(fd):
    """Before Python 3.7 a socket made from a descriptor takes itself for one of AF_INET."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=fd)


def _quietly(call, *arguments):
    """What it returns; None where it fails, since somebody else was first, or nobody is there any more."""
    try:
        return call(*arguments)
    except OSError:
        return None


def children():
    """The pids of this process's children, the dead ones that are not reaped yet included."""
    me = os.getpid()
    try:
        with open("/proc/%d/task/%d/children" % (me, me)) as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _stat("/proc/%s/" % pid)[1:2] == [str(me)]]


def _pidfd(pid):
    """A descriptor that becomes readable when a process ends, or -1 where there is no such thing."""
    try:
        return getattr(os, "pidfd_open")(pid)  # noqa: B009 - new in Python 3.9
    except (AttributeError, OSError):
        return -1


def _find_prctl():
    """Linux's prctl, called with two numbers; None elsewhere."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True).prctl if sys.platform.startswith("linux") else None


if __name__ == "__main__":
    main(sys.argv[1:])
