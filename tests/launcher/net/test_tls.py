"""The client's side of TLS where the server is gone before the handshake: that is worth another attempt.

Knows sockets and their resets. Python 3.10 and up.
"""

import errno
import socket
import struct

import pytest
from gym_service_launcher.net import tls
from gym_service_launcher.net.handshake import ServerFullError
from support import polling

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def has_no_peer(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_connection_that_ends_before_the_handshake_is_no_wrong_certificate(is_reset: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        peer.shutdown(socket.SHUT_WR)
        if is_reset:
            assert sock.recv(1) == b""
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        peer.close()
        if is_reset:
            polling.until(lambda: has_no_peer(sock), "the reset", 5.0)
        with pytest.raises(ServerFullError):
            tls.connect(sock, "localhost", None, None)
        assert sock.fileno() == -1
