"""The remote end of a command: starts the server there, and makes sure that no process of it outlives the link.

Rules of this file:

1. Standard library only, Python 3.6 and up. Its text arrives over the link (memory_importer.py) and runs in the
   target's interpreter: no file of ours is on that machine.
2. It knows the order that came with it, fds 0, 1 and 2, and the guardian, whose class it extends. It never knows what
   travels over the link.
3. It neither reads fd 0 nor writes to fd 1: those are the link, and belong to the server.

Theory of operation. The *link* is fds 0 and 1 of this process. Both may be pipes, sockets or one of each. poll()
reports that their other end is closed (POLLHUP, POLLERR, POLLRDHUP) without any read or write. So this process notices
the end of the link also while the server is busy in C, is stopped, or has not read what was sent.

When the link ends, the server notices it too, if it can. It then has HANGUP_S to close its env: it closes fd 3 when
that is done. After that it has the client's time limit for ``close``. A server that has not closed its env after
STATE_AFTER_S is observed, and its state and its Python stack go to fd 2.

On fd 2 it writes, one line each, what the client cannot see: why the server did not start, what the server was doing
when the link ended, and how it ended. Its exit code is the server's, or 128 plus the number of the signal.

What must change together: ENDED_LINE and STATE_LINE with ``servers/over_command.py``, which imports their form from
here; the keys of the order with ``servers/source_bundle.py``.
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

from gym_service_launcher.standalone import client_watch, env_vars, guardian, spawning

EXIT_FAILED, EXIT_TOO_OLD = 1, 3
ENDED_LINE, STATE_LINE = "the server ended: %s %s", "the server was %s when its link ended"
# After the end of the link: when to observe a server that has not closed its env, and when to kill it.
STATE_AFTER_S, HANGUP_S = 0.3, 0.6
# The time for a server to take its modules, if the kernel's buffers are too small for all of them.
HAND_OVER_S = 10.0
LONGEST_S = 1e6  # means no limit
# The server's program. Its modules arrive on fd 3. It closes fd 3 after it has closed its env. The first entry of
# sys.path would be the working directory, whose modules must not shadow others.
PROGRAM = """\
import sys
if sys.path[:1] == [""]:
    del sys.path[0]
import json, os, zlib
os.set_inheritable(3, False)
bundle = open(3, "rb")
sources = json.loads(zlib.decompress(bundle.read()).decode())
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
bundle.close()
sys.exit(code)
"""


def main(order):
    """Carry out an order and exit. Never returns: otherwise the interpreter would read the link as its program."""
    code = EXIT_FAILED
    try:
        code = carry_out(order)
    except CannotStart as error:
        say(str(error))
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - the border: nothing above this would show it
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


class CannotStart(Exception):
    """The server cannot start. The text says what is wrong on this side."""

    def __init__(self, text, exit_code=EXIT_FAILED):
        super().__init__(text)
        self.exit_code = exit_code


def say(line):
    """Send the client a line, in one write, since the server may write to fd 2 too."""
    try:
        os.write(2, ("gym-service: %s\n" % line).encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # the link has ended


def carry_out(order):
    """Start the server and wait until nothing of it is left. Returns the exit code."""
    if sys.version_info < (3, 6):
        text = "the simulator's interpreter is Python %d.%d (%s); the server needs 3.6 or newer"
        raise CannotStart(text % (sys.version_info[0], sys.version_info[1], sys.executable), EXIT_TOO_OLD)
    for name in spawning.IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    executable = _executable(_text(order["python"]))
    base = dict(os.environ)  # a venv is built with the entry's variables, which are expanded only once
    environ = {_text(name): value and _text(value) for name, value in order["environ"].items()}
    if order["venv"]:
        from gym_service_launcher.standalone import remote_venv_builder  # loaded only to build a venv

        executable = remote_venv_builder.answer(order, executable, environ)
        if executable is None or not order["serve"]:
            return 0 if executable else EXIT_FAILED
    pythonpath = [os.path.abspath(os.path.expanduser(_text(folder))) for folder in order["pythonpath"]]
    cwd = os.path.abspath(os.path.expanduser(_text(order["cwd"])))
    if not os.path.isdir(cwd):
        raise CannotStart("the working directory is no folder on the remote side: %s" % cwd)
    remote = RemoteGuardian((0, 1), min(order["close_s"], LONGEST_S))
    try:
        words, env = _activated(order, executable, environ, pythonpath, base)
        options = ["--stdio", order["mark"], "--dump-signal", str(int(guardian.DUMP_SIGNAL))]
        remote.start([*words, executable, "-u", "-c", PROGRAM, *options], cwd, env, order["sources"])
    except env_vars.BadVariable as error:
        raise CannotStart("on the remote side, %s" % error) from error
    except OSError as error:
        raise CannotStart("%s cannot be executed on the remote side: %s" % (executable, error.strerror)) from error
    return remote.wait_for_end()


def _activated(order, executable, environ, pythonpath, base):
    """(The words before the command, its variables): they source the scripts of the order, if it has any."""
    if not order["activate"]:
        return [], env_vars.environment(executable, environ, pythonpath, base)
    from gym_service_launcher.standalone import activation  # loaded only for scripts

    steps = []
    for given in order["activate"]:
        script = os.path.abspath(os.path.expanduser(_text(given)))
        if not (os.path.isfile(script) and os.access(script, os.R_OK)):
            raise CannotStart("activate: there is no such script on the remote side: %s" % script)
        steps.append(activation.source(script))
    cwd = order["cwd"] and os.path.abspath(os.path.expanduser(_text(order["cwd"])))
    inherited = env_vars.inherited(base)
    env = activation.variables(executable, steps, environ, pythonpath, cwd, inherited)
    return activation.words(executable), env


def _text(given):
    """A text of the order in the encoding of this Python's locale, which can be ASCII in an old Python."""
    return os.fsdecode(given.encode("utf-8", "surrogateescape"))


def _executable(python):
    """The path of the interpreter that the client names; this interpreter's if only a shell understands the name."""
    found = shutil.which(os.path.expanduser(python))
    return os.path.abspath(found or sys.executable)


class RemoteGuardian(guardian.Guardian):
    """A guardian of one server. Its client is the process at the other end of the link."""

    def __init__(self, link_fds, close_s):
        self._link_fds = link_fds
        self._close_s = close_s
        self._dues = deque()  # (time, action) to do at that time, after the link has ended
        self._is_linked, self._env_is_closed = True, False
        self._server = None
        # The server's lifeline. This class receives on one end what the guardian's code sends on the other.
        self._client_end, self._guardian_end = socket.socketpair()
        control, self._unused = socket.socketpair()  # no request for another server ever arrives
        super().__init__(control, client_watch.Client(os.getpid(), -1, is_parent=False))
        self._poll.register(self._client_end, select.POLLIN)
        for fd in link_fds:  # POLLHUP and POLLERR are always reported; a half-closed socket only on request
            self._poll.register(fd, getattr(select, "POLLRDHUP", 0))
        # Containers and jobs are stopped with SIGTERM. If this process simply ended, the server's children would stay.
        signal.signal(signal.SIGTERM, lambda number, frame: self._lose_link())

    def start(self, argv, cwd, env, sources):
        """Start the server and send it its modules. Raises OSError."""
        self._server = guardian.Server(self._guardian_end, b"")
        bundle = zlib.compress(json.dumps(sources).encode(), 1)
        self._bundle, theirs = socket.socketpair()
        with theirs:
            # The kernel then takes all of it at once, also if the server is stopped and reads nothing.
            self._bundle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(bundle))
            self.begin(self._server, argv, cwd, env, [0, 1, 2, theirs.fileno()])
        self._bundle.settimeout(HAND_OVER_S)
        try:
            self._bundle.sendall(bundle)
            self._bundle.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            return  # the server has ended already; wait_for_end reports it
        self._poll.register(self._bundle, 0)

    def wait_for_end(self):
        """Wait until nothing of the server is left. Reports how it ended, and returns the exit code."""
        self.run()
        code = self._server.exit_code
        if self._is_linked or code:
            say(ENDED_LINE % ("signal" if code < 0 else "exit code", abs(code)))
        return code if code >= 0 else 128 - code

    def _handle(self, fd):
        if fd in self._link_fds:
            self._lose_link()
        elif fd == self._client_end.fileno():
            self._receive_state()
        elif fd == self._bundle.fileno():
            self._poll.unregister(fd)
            self._env_is_closed = True
            self._set_deadlines()
        else:
            super()._handle(fd)

    def _lose_link(self):
        if self._is_linked:
            self._is_linked = False
            for fd in self._link_fds:
                self._poll.unregister(fd)
            self._set_deadlines()

    def _set_deadlines(self):
        """Set the server's time limits, when the link has ended."""
        now = time.monotonic()
        if self._is_linked:
            return
        if self._env_is_closed:
            self._dues = deque([(now + self._close_s, self._lose_client)])
        else:
            diagnosis = now + STATE_AFTER_S, lambda: self._server.obey(guardian.Order.DIAGNOSE.value)
            self._dues = deque([diagnosis, (now + HANGUP_S, self._lose_client)])

    def _receive_state(self):
        for line in self._client_end.recv(4096).decode("ascii").splitlines():
            word, _, state = line.partition(" ")
            if word == "state":
                say(STATE_LINE % state)
                if state != "stopped":
                    self._server.obey(guardian.Order.DUMP_STACK.value)

    def _check_client(self):
        """Count this process as its own client, until its server has ended or has used up its time."""
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
