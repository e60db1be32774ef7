"""The guardian of a warm fork server: it outlives the program that starts it, and guards the servers of all programs.

Rules of this file: those of guardian.py, whose class it derives from. It knows fork servers as processes with three
answers. warm_clients.py has the part that knows clients. It needs Linux: pidfds, a subreaper and /proc.

Command line::

    PYTHON -I -S .../warm_guardian.py PATH LEAST_SHARE

fd 3 is told ``pid N`` or ``errno N``, as by guardian.py. fd 4 is a listening Unix socket, bound to PATH. LEAST_SHARE:
see below.

Contract. A client connects, and its user must be this one. It sends messages (warm_connection.py):

- ``ASK``, with a pidfd of the client, and the seconds to keep the fork server. The answer is ``here PID`` at once, and,
  once it is known, a line that says what the client does next: ``import`` (order a fork server), ``ready PID`` (request
  servers), or ``failed WHY`` or ``unforkable WHY`` (start servers without it).
- ``ORDER``: start a fork server. The rest is a request as in guardian.py, with the descriptors lifeline, 0, 1 and 2. It
  is the server of its client until it has imported; then it is nobody's, and its lifeline orders nothing any more.
- ``REQUEST``: fork a server. The same, with any descriptors. Its lifeline is answered ``errno ESTALE`` if there is no
  fork server any more, or if its files have changed; then the client asks again.

Theory of operation. The fork server forks each server so that it becomes a child of this process (warm_forks.py). So
this process guards the servers of all clients: when a client ends, its servers are killed; when the fork server ends,
the servers stay. One request is on its way to the fork server at a time. Until its answer, a child
that is not known may be the new server: nothing is swept, and the exit codes of unknown children are kept.

This process ends, and the fork server with it, as soon as no client is connected, nothing of a server is left, and one
of these holds: there is no fork server; the last client has left ``keep_s`` ago; or less than LEAST_SHARE of the memory
is available (MemAvailable and MemTotal of /proc/meminfo, compared each MEMORY_S).

What must change together: the contract with ``servers/warm.py``; requests and answers with warm_forks.py.
"""

import collections
import errno
import fcntl
import importlib.util
import os
import select
import signal
import socket
import sys
import time

if __package__:
    from gym_service_launcher.standalone import guardian, warm_clients
else:

    def _load_sibling(name):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec = importlib.util.spec_from_file_location("gym_service_" + name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    warm_clients = _load_sibling("warm_clients")
    guardian = getattr(warm_clients, "guardian")  # noqa: B009 - the same module object, for type checkers

LISTENER_FD = guardian.CONTROL_FD + 1
# How long a fork server may take for one fork, and to end by itself: its simulator may act at exit.
FORK_S, LEAVE_S = 10.0, 2.0
# The time between two looks at the state of a fork server that does not answer. One that is stopped is killed.
LOOK_S = 0.5
# How long this process waits for its first client.
FIRST_S = 10.0
# The time between two looks at the memory while nobody uses the fork server.
MEMORY_S = 2.0
# The words with which lines begin, here and at the fork server.
IMPORT, READY, FAILED = "import", "ready", "failed"


def main(path, least_share):
    guardian.spawning.give_up_terminal()
    guardian.client_watch.leave_parent(guardian.CONTROL_FD)
    os.closerange(LISTENER_FD + 1, os.sysconf("SC_OPEN_MAX"))  # the client's C libraries may leave some
    os.close(guardian.CONTROL_FD)
    os.chdir("/")
    os.set_inheritable(LISTENER_FD, False)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=LISTENER_FD)
    WarmGuardian(listener, path, float(least_share)).run()


class Image:
    """A fork server: its process, and the socket over which it is asked."""

    def __init__(self, server, control, client):
        self.server = server
        self.control = control
        self.client = client  # the one that ordered it; None once it is ready
        self.received = b""
        self.is_heard = True  # whether its socket is polled
        self.killed_at = None  # when it is killed, unless it has ended or answered by then
        self.looked_at = None  # when its state is looked at, unless it has answered by then


class WarmGuardian(warm_clients.Clients):
    """Waits for clients, for the fork server and for the servers in one poll()."""

    def __init__(self, listener, path, least_share):
        warm_clients.Clients.__init__(self, listener)
        self._path = path
        self._least_share = least_share
        self._bound = os.lstat(path)
        self._image = None
        self._retired = []  # images that are ending
        self._orderer = None  # the client that was told to order one
        self._requests = collections.deque()
        self._is_asked = False  # whether the first request was sent to the fork server
        self._unknown = {}  # exit statuses of children that may be the server that is being forked
        self._idle_since = time.monotonic()

    def run(self):
        """Work until the end that the docstring of this file describes."""
        while not self._is_over():
            self._work(self._wait_ms())
        self._remove_socket()
        if self._image:
            self._retire(self._image)
        while self._servers or self._lifelines:
            self._work(self._wait_ms())

    def _work(self, wait_ms):
        self._forgotten.clear()
        for fd, _ in self._poll.poll(wait_ms):
            if fd not in self._forgotten:
                self._handle(fd)
        for server in list(self._servers.values()):
            server.finish_diagnosis_if_due()
        self._kill_late_images()
        self._reap()
        self._sweep()

    # -- when it ends --------------------------------------------------------------------------------------------

    def _is_over(self):
        kept = self._image.server if self._image and self._image.client is None else None
        left = [server for server in self._lifelines.values() if server is not kept]
        if self._connections or self._clients or left:
            self._idle_since = time.monotonic()
            return False
        if kept is None:
            return self._keep_s > 0 or time.monotonic() >= self._idle_since + FIRST_S
        return time.monotonic() >= self._idle_since + self._keep_s or self._lacks_memory()

    def _lacks_memory(self):
        found = guardian.procfs.memory_bytes()
        return found is not None and found[0] < self._least_share * found[1]

    def _wait_ms(self):
        """How long poll() may wait; None for no limit."""
        now = time.monotonic()
        images = [*self._retired, self._image] if self._image else self._retired
        dues = [due for image in images for due in (image.killed_at, image.looked_at) if due is not None]
        if not self._connections and not self._clients:
            dues += [now + MEMORY_S, self._idle_since + (self._keep_s or FIRST_S)]
        usual_ms = guardian.Guardian._wait_ms(self)
        waits_ms = [max(0.0, due - now) * 1000 + 1 for due in dues] + ([] if usual_ms is None else [usual_ms])
        return min(waits_ms) if waits_ms else None

    def _remove_socket(self):
        """Remove the file, unless it is another's by now, and stop listening.

        In this order, and under the lock that everyone holds who binds there: only a file without a listener is
        replaced. Clients that are not accepted yet see the end of their connection, and start another guardian.
        """
        folder = guardian.quietly(os.open, os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if folder is not None:
            guardian.quietly(fcntl.flock, folder, fcntl.LOCK_EX)
            found = guardian.quietly(os.lstat, self._path)
            if found and os.path.samestat(found, self._bound):
                guardian.quietly(os.unlink, self._path)
            os.close(folder)
        self._forget(self._listener.fileno())
        self._listener.close()

    # -- the fork server -----------------------------------------------------------------------------------------

    def _handle(self, fd):
        if self._image and fd == self._image.control.fileno():
            self._hear(self._image)
        else:
            warm_clients.Clients._handle(self, fd)

    def _disconnect(self, connection):
        if self._orderer is connection:
            self._orderer = None
        warm_clients.Clients._disconnect(self, connection)

    def _answer(self):
        """Tell those who ask what they can do, if it is known."""
        askers = [connection for connection in self._connections.values() if connection.asks]
        if self._image and self._image.client is None:
            for connection in askers:
                connection.asks = False
                connection.say("%s %d" % (READY, self._image.server.pid))
        elif askers and not self._image and self._orderer is None:
            self._orderer = askers[0]
            self._orderer.asks = False
            self._orderer.say(IMPORT)

    def _order(self, connection, request):
        """Start a fork server, for the client that was told to order it."""
        server = request.server
        try:
            if self._orderer is not connection or self._image:
                raise OSError(errno.EALREADY, os.strerror(errno.EALREADY))
            self._orderer = None
            argv, cwd, _, env = guardian.spawning.parse_texts(request.text)
            ours, theirs = socket.socketpair()
            with theirs:
                server.pid = guardian.spawning.spawn(argv, cwd, env, [*request.fds, theirs.fileno()], self._prctl)
        except OSError as error:
            self._fail(server, error.errno)
            self._answer()
            return
        finally:
            request.close_fds()
        self._servers[server.pid] = server
        server.say("pid %d" % server.pid)
        self._image = Image(server, ours, connection)
        self._poll.register(ours, select.POLLIN)
        connection.asks = True
        ours.settimeout(FORK_S)
        guardian.quietly(_send, ours, [], request.text)

    def _hear(self, image):
        """Read what the fork server says: the result of its imports, and then its answers."""
        data = guardian.quietly(image.control.recv, 65536)
        if not data:
            self._unhear(image)
            image.killed_at = time.monotonic() + LEAVE_S
            if image.client is None:
                self._retire(image)
            return
        image.received += data
        while b"\n" in image.received and image is self._image:
            line, _, image.received = image.received.partition(b"\n")
            word, _, rest = line.decode("utf-8", "replace").partition(" ")
            if image.client is None:
                self._take_answer(image, word, rest)
            elif word == READY:
                client, image.client = image.client, None
                del self._owners[image.server]
                self._forget_client(client)
                self._answer()
            else:
                self._tell_failure(word, rest)
                self._retire(image)

    def _unhear(self, image):
        if image.is_heard:
            self._forget(image.control.fileno())
            image.is_heard = False

    def _tell_failure(self, word, rest):
        for connection in list(self._connections.values()):
            if connection.asks:
                connection.asks = False
                connection.say("%s %s" % (word, rest))

    def _retire(self, image):
        """Let the fork server end. Its servers stay, and what it was asked for fails."""
        self._image = None
        self._retired.append(image)
        image.killed_at, image.looked_at = time.monotonic() + LEAVE_S, None
        self._unhear(image)
        image.control.close()
        self._is_asked = False
        while self._requests:
            self._refuse(self._requests.popleft(), errno.ESTALE)

    def _kill_late_images(self):
        now = time.monotonic()
        image = self._image
        if image and (_is_due(image.killed_at, now) or (_is_due(image.looked_at, now) and self._is_stopped(image))):
            self._retire(image)
            image.killed_at = now
        for image in self._retired:
            if now >= image.killed_at:
                image.server.kill()

    def _is_stopped(self, image):
        image.looked_at += LOOK_S
        process = guardian.procfs.process(image.server.pid)
        return process is not None and process.state in "Tt"

    def _end_image(self, image):
        """It has ended. If it was killed while it imported, another client that asks orders another.

        Not the same client: where memory is too short for the imports, it would order one after the other.
        """
        code = image.server.exit_code
        if image.client is not None:
            image.client.asks = False  # it knows from the lifeline
            if code != -signal.SIGKILL:
                how = "exit code %d" % code if code >= 0 else "killed by signal %d" % -code
                self._tell_failure(FAILED, "the process that imported it ended: %s" % how)
        self._retire(image)
        self._answer()

    # -- servers -------------------------------------------------------------------------------------------------

    def _enqueue(self, request):
        self._requests.append(request)
        self._send_request()

    def _send_request(self):
        """Ask the fork server for the next server, unless it is asked already."""
        while self._requests and not self._is_asked:
            if self._image is None or self._image.client is not None:
                self._refuse(self._requests.popleft(), errno.ESTALE)
                continue
            self._is_asked = True
            now = time.monotonic()
            self._image.killed_at, self._image.looked_at = now + FORK_S, now + LOOK_S
            request = self._requests[0]
            try:
                _send(self._image.control, request.fds, request.text)
            except OSError:
                self._retire(self._image)

    def _take_answer(self, image, word, rest):
        request = self._requests.popleft()
        self._is_asked, image.killed_at, image.looked_at = False, None, None
        if word == "pid":
            request.close_fds()
            self._begin_server(request.server, int(rest))
        else:
            self._refuse(request, int(rest) if word == "errno" else errno.ESTALE)
        self._unknown.clear()
        if word == "changed":
            self._retire(image)
        self._send_request()

    def _begin_server(self, server, pid):
        server.pid = pid
        server.say("pid %d" % pid)
        self._servers[pid] = server
        if pid in self._unknown:  # it has ended already
            self._end_server(pid, self._unknown[pid])
        elif server.lifeline_ended:  # nobody needs it any more
            server.kill()

    def _refuse(self, request, number):
        request.close_fds()
        self._fail(request.server, number)

    def _fail(self, server, number):
        """Tell that a server was not started."""
        self._end_lifeline(server)
        del self._lifelines[server.lifeline.fileno()]
        server.part("errno %d" % number)
        self._release(server)

    def _receive_orders(self, server):
        is_kept = self._image and self._image.server is server and self._image.client is None
        if is_kept or not server.pid:  # orders for one that is not started yet are only the end of its lifeline
            if not guardian.quietly(server.lifeline.recv, 64):
                self._end_lifeline(server)
            return
        guardian.Guardian._receive_orders(self, server)

    def _reap(self):
        while True:
            pid, status = self._reap_one()
            if not pid:
                return
            if pid in self._servers:
                self._end_server(pid, status)
            elif self._is_asked:
                self._unknown[pid] = status

    def _end_server(self, pid, status):
        server = self._servers.pop(pid)
        server.exit_code = guardian.spawning.exit_code(status)
        if self._image and self._image.server is server:
            self._end_image(self._image)
        self._retired = [image for image in self._retired if image.server is not server]

    def _sweep(self):
        if self._is_asked:
            return
        guardian.Guardian._sweep(self)
        for server in [server for server in self._owners if server not in self._lifelines.values()]:
            self._release(server)


def _is_due(due, now):
    return due is not None and now >= due


def _send(sock, fds, text):
    """Send the fork server a request, as in guardian.py. Raises OSError, also if it takes too long."""
    guardian.fd_passing.send(sock, guardian.HEADER.pack(len(text)), fds)
    sock.sendall(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
