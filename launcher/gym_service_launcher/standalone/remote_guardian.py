"""The far end of a command: starts the server there, and sees to it that nothing of it outlives the link.

Has arrived over the link itself (``arrival``), and runs in the target's interpreter. Knows the order that came with it,
fds 0, 1 and 2, and the guardian, whose work it does. Never knows what travels over the link. Standard library only,
Python 3.6 and up.

The server has fds 0 and 1 from here; this process reads and writes neither of them. It waits for what poll() says of
them without being asked: that nobody is at their other end any more. That is noticed while the server is busy in C, is
stopped, or has not read what was sent. The server notices too, if it can: it then has HANGUP_S seconds to close its
env, and after that the time that the client gives to whoever closes.

On fd 2 it says what the client cannot see from afar, a line each: why the server did not start, what it was doing when
its link ended, how it ended. The launcher's ``over_command.py`` reads
them. Its exit code is the server's, or 128 and the number
of the signal.
"""

import json
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
import zlib
from collections import deque

from gym_service_launcher.standalone import env_vars, guardian

EXIT_FAILED, EXIT_TOO_OLD = 1, 3
# After the link's end: when a server that has not ended by itself is asked what it does, and when it is killed.
LOOK_AFTER_S, HANGUP_S = 0.3, 0.6
# For a server to take what the kernel could not keep for it, where its buffers are very small.
HAND_OVER_S = 10.0
LONGEST_S = 1e6  # what stands for ever
# What it says at the end; ``servers/over_command.py`` reads it.
ENDED_LINE, STATE_LINE = "the server ended: %s %s", "the server was %s when its link ended"
# The server's program: the rest of what has arrived comes to it on fd 3, which it closes when it has closed its env.
# The first entry of sys.path would be the working directory, whose modules are not to shadow anything.
PROGRAM = """\
import sys
if sys.path[:1] == [""]:
    del sys.path[0]
import json, os, zlib
os.set_inheritable(3, False)
parcel = open(3, "rb")
sources = json.loads(zlib.decompress(parcel.read()).decode())
names = {}
exec(sources["gym_service_launcher/standalone/memory_importer.py"], names)
names["install"](sources)
try:
    from gym_service.server import __main__ as program
    code = program.serve(sys.argv[1:])
except Exception:
    import traceback
    traceback.print_exc()  # unlike Python's own it finds the lines of files that are on no disk
    code = 1
parcel.close()
sys.exit(code)
"""


def main(order):
    """Carry out an order and exit. Never returns: behind it waits an interpreter that would read the link."""
    code = EXIT_FAILED
    try:
        code = carry_out(order)
    except CannotStart as error:
        say(str(error))
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - the border: behind it nobody would show it
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


class CannotStart(Exception):
    """The text says what is wrong over here."""

    def __init__(self, text, exit_code=EXIT_FAILED):
        super().__init__(text)
        self.exit_code = exit_code


def say(line):
    """A line to the client, in one write: the server may write there too."""
    try:
        os.write(2, ("gym-service: %s\n" % line).encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # nobody listens any more


def carry_out(order):
    """Start the server, wait until nothing of it is left; the exit code."""
    if sys.version_info < (3, 6):
        text = "the simulator's interpreter is Python %d.%d (%s); the server needs 3.6 or newer"
        raise CannotStart(text % (sys.version_info[0], sys.version_info[1], sys.executable), EXIT_TOO_OLD)
    for name in guardian.IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    executable = _executable(_text(order["python"]))
    environ = {_text(name): _text(value) for name, value in order["environ"].items()}
    if order["venv"]:
        from gym_service_launcher.standalone import remote_venv_builder  # only where there is one to build

        executable = remote_venv_builder.answer(order, executable, environ)
        if executable is None or not order["serve"]:
            return 0 if executable else EXIT_FAILED
    pythonpath = [os.path.abspath(os.path.expanduser(_text(folder))) for folder in order["pythonpath"]]
    env = env_vars.environment(executable, environ, pythonpath, os.environ)
    cwd = os.path.abspath(os.path.expanduser(_text(order["cwd"])))
    if not os.path.isdir(cwd):
        raise CannotStart("the working directory is no folder on the remote side: %s" % cwd)
    remote = RemoteGuardian((0, 1), min(order["close_s"], LONGEST_S))
    try:
        remote.start([executable, "-u", "-c", PROGRAM, "--stdio", order["mark"]], cwd, env, order["sources"])
    except OSError as error:
        raise CannotStart("%s cannot be executed on the remote side: %s" % (executable, error.strerror)) from error
    return remote.see_to_the_end()


def _text(given):
    """A text of the order as this Python's locale spells it: in an old Python that may be ASCII."""
    return os.fsdecode(given.encode("utf-8", "surrogateescape"))


def _executable(python):
    """The path of what the client called ``python``; of this very interpreter where that was a word of a shell's."""
    found = shutil.which(os.path.expanduser(python))
    return os.path.abspath(found or sys.executable)


class RemoteGuardian(guardian.Guardian):
    """A guardian with one server, whose client is whoever is at the other end of the link."""

    def __init__(self, link_fds, close_s):
        self._link_fds = link_fds
        self._close_s = close_s
        self._dues = deque()  # (when, what is due then), once the link has ended
        self._is_linked, self._is_closed = True, False
        self._server = None
        self._told, self._said = socket.socketpair()  # the lifeline: what is said on it is heard at its other end
        control, self._silent = socket.socketpair()  # nobody asks for another server
        super().__init__(control, os.getpid())
        self._poll.register(self._told, select.POLLIN)
        for fd in link_fds:  # POLLHUP and POLLERR come unasked; the end of one direction of a socket does not
            self._poll.register(fd, getattr(select, "POLLRDHUP", 0))
        # What stops containers and jobs; this process's own end would leave the server's children behind.
        signal.signal(signal.SIGTERM, lambda number, frame: self._lose_link())

    def start(self, argv, cwd, env, sources):
        """Start the server and hand it the modules. Raises OSError."""
        self._server = guardian.Server(self._said, b"")
        bundle = zlib.compress(json.dumps(sources).encode(), 1)
        self._handed, theirs = socket.socketpair()
        with theirs:
            # So that the kernel takes all of it at once, and nobody here waits for a server that may be stopped.
            self._handed.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(bundle))
            self.begin(self._server, argv, cwd, env, [0, 1, 2, theirs.fileno()])
        self._handed.settimeout(HAND_OVER_S)
        try:
            self._handed.sendall(bundle)
            self._handed.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has died at once, and its end will be told of
        self._poll.register(self._handed, 0)

    def see_to_the_end(self):
        """Wait until nothing of the server is left; say how it ended, and return the exit code."""
        self.run()
        code = self._server.exit_code
        if self._is_linked or code:
            say(ENDED_LINE % ("signal" if code < 0 else "exit code", abs(code)))
        return code if code >= 0 else 128 - code

    def _handle(self, fd):
        if fd in self._link_fds:
            self._lose_link()
        elif fd == self._told.fileno():
            self._hear_why()
        elif fd == self._handed.fileno():
            self._poll.unregister(fd)
            self._is_closed = True
            self._plan()
        else:
            super()._handle(fd)

    def _lose_link(self):
        if self._is_linked:
            self._is_linked = False
            for fd in self._link_fds:
                self._poll.unregister(fd)
            self._plan()

    def _plan(self):
        """What the server has time for from here on, where nobody is at the other end any more."""
        now = time.monotonic()
        if self._is_linked:
            return
        if self._is_closed:
            self._dues = deque([(now + self._close_s, self._lose_client)])
        else:
            looking = now + LOOK_AFTER_S, lambda: self._server.obey("w")
            self._dues = deque([looking, (now + HANGUP_S, self._lose_client)])

    def _hear_why(self):
        for line in self._told.recv(4096).decode("ascii").splitlines():
            word, _, why = line.partition(" ")
            if word == "why":
                say(STATE_LINE % why)
                if why != "stopped":
                    self._server.obey("d")

    def _look_for_client(self):
        """It is its own client: until its server is gone, or has had its time after the link's end."""
        while self._dues and self._dues[0][0] <= time.monotonic():
            self._dues.popleft()[1]()
        if self._server and not (self._servers or self._lifelines) and not self._client_gone:
            self._lose_client()

    def _wait_ms(self):
        wait_ms = super()._wait_ms()
        if not self._dues:
            return wait_ms
        due_ms = max(0.0, self._dues[0][0] - time.monotonic()) * 1000
        return due_ms if wait_ms is None else min(wait_ms, due_ms)
