"""The clients of a warm guardian: programs that connect, what they request, and what dies with them.

Knows connections, pidfds and lifelines. Never knows how a server is forked: warm_guardian.py, whose class derives from
this one, carries the requests out. Standard library only, Python 3.6 and up: it is loaded by path.

A client is watched by its pidfd. The end of its connection is not enough: a forked child of it may hold a copy.
"""

import errno
import importlib.util
import os
import select

if __package__:
    from gym_service_launcher.standalone import guardian, warm_connection
else:

    def _load_sibling(name):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec = importlib.util.spec_from_file_location("gym_service_" + name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    guardian, warm_connection = map(_load_sibling, ("guardian", "warm_connection"))


# Some three years; poll() takes no longer time.
LONGEST_S = 1.1e8


class NoClient:
    """Stands for the client that a guardian has. This one ends for other reasons."""

    pidfd = -1
    must_be_polled = False

    def has_ended(self):
        return False


class Request:
    """A server that is to be started."""

    def __init__(self, server, fds, text):
        self.server, self.fds, self.text = server, fds, text

    def close_fds(self):
        while self.fds:
            os.close(self.fds.pop())


class Clients(guardian.Guardian):
    """A guardian whose servers belong to different clients."""

    def __init__(self, listener):
        guardian.Guardian.__init__(self, listener, NoClient())
        self._listener = listener
        self._connections = {}  # by fd
        self._clients = {}  # the connections, also closed ones, by the pidfd of the client
        self._owners = {}  # the connection of the client of each server
        self._forgotten = set()  # descriptors whose events, of the same poll(), belong to nobody any more
        self._keep_s = 0.0  # as the last client that asked wants it

    def _answer(self):
        """Tell those who ask what they can do, if it is known."""
        raise NotImplementedError

    def _order(self, connection, request):
        """Start a fork server for a client."""
        raise NotImplementedError

    def _enqueue(self, request):
        """Have the fork server start a server."""
        raise NotImplementedError

    def _handle(self, fd):
        if fd == self._listener.fileno():
            self._accept()
        elif fd in self._connections:
            self._receive(self._connections[fd])
        elif fd in self._clients:
            self._lose(self._clients[fd])
        else:
            guardian.Guardian._handle(self, fd)

    def _accept(self):
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # the client has ended meanwhile, or this process has too many files open
        connection = warm_connection.Connection(sock)
        if not connection.is_of_this_user():
            connection.close()
            return
        self._connections[sock.fileno()] = connection
        self._poll.register(sock, select.POLLIN)

    def _receive(self, connection):
        try:
            messages = connection.receive()
        except BlockingIOError:
            return
        except OSError:
            self._disconnect(connection)
            return
        for kind, fds, text in messages:
            try:
                if connection.is_open:
                    self._obey(connection, kind, fds, text)
            except (OSError, ValueError):
                self._disconnect(connection)
            finally:
                for fd in fds:  # those that are still needed were taken out of the list
                    os.close(fd)

    def _obey(self, connection, kind, fds, text):
        if kind == warm_connection.ASK:
            keep_s = float(text)
            if not 0 < keep_s < LONGEST_S or not (fds or connection.pidfd >= 0):
                raise OSError(errno.EPROTO, "a question without what it needs")
            self._keep_s = keep_s
            if connection.pidfd < 0:
                connection.pidfd = fds.pop()
                self._clients[connection.pidfd] = connection
                self._poll.register(connection.pidfd, select.POLLIN)
            connection.asks = True
            connection.say("here %d" % os.getpid())
            self._answer()
            return
        if connection.pidfd < 0 or len(fds) < guardian.LEAST_FDS:
            raise OSError(errno.EPROTO, "a request without what it needs")
        _, _, record, _ = guardian.spawning.parse_texts(text)
        lifeline_fd = fds.pop(0)
        server = guardian.Server(guardian.unix_socket(lifeline_fd), record)
        self._lifelines[lifeline_fd] = server
        self._owners[server] = connection
        self._poll.register(server.lifeline, select.POLLIN)
        server.make_record()
        request = Request(server, fds[:], text)
        del fds[:]
        if kind == warm_connection.ORDER:
            self._order(connection, request)
        else:
            self._enqueue(request)

    def _disconnect(self, connection):
        """Forget a connection. The servers of its client live until the end of their lifelines or of the client."""
        if connection.is_open:
            del self._connections[connection.sock.fileno()]
            self._forget(connection.sock.fileno())
            connection.close()
        self._forget_client(connection)
        self._answer()

    def _lose(self, connection):
        """Kill what belongs to a client that has ended, also where a forked child of it holds the sockets open."""
        self._unwatch_client(connection)
        for server in [server for server, owner in self._owners.items() if owner is connection]:
            self._end_lifeline(server)
            if server.pid:
                server.kill()
        self._disconnect(connection)

    def _forget_client(self, connection):
        """Stop watching a client that is not connected and has no server left."""
        if connection.pidfd >= 0 and not connection.is_open and connection not in self._owners.values():
            self._unwatch_client(connection)

    def _unwatch_client(self, connection):
        self._forget(connection.pidfd)
        del self._clients[connection.pidfd]
        os.close(connection.pidfd)
        connection.pidfd = -1

    def _forget(self, fd):
        """Poll a descriptor no more. It may be closed, and its number be another's, while older events are handled."""
        self._poll.unregister(fd)
        self._forgotten.add(fd)

    def _end_lifeline(self, server):
        if not server.lifeline_ended:
            self._forget(server.lifeline.fileno())
            server.lifeline_ended = True

    def _release(self, server):
        """Forget whose server it was."""
        owner = self._owners.pop(server, None)
        if owner:
            self._forget_client(owner)
