"""What cannot be kept warm or not be used: imports that leave threads or fail, other users, broken files and rules."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from gym_service_launcher.standalone import fd_passing, warm_connection
from support.keep_warm import (
    ONCE,
    OPEN,
    SOON_S,
    UNTIL_TOLD,
    importers,
    keys,
    opening,
    sockets,
    stop,
)
from support.programs import Programs

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# Each program takes a second, so most tests are run by hand.
LONG = pytest.mark.long


@pytest.mark.parametrize("deed", ["thread", "process"])
@LONG
def test_what_a_fork_would_lose(group: Programs, deed: str) -> None:
    for made in (1, 2):
        told, pid = group.run(opening() + ONCE, COUNTED=deed)
        assert told.startswith("warning: 'Counted' was started without prefork: its imports have left ")
        assert int(pid) == importers(group)[2 * made - 1]
    group.assert_nothing_is_left(SOON_S)


@pytest.mark.parametrize("deed", ["fail", "os._exit"])
@LONG
def test_an_import_that_fails_is_the_same_error(group: Programs, deed: str) -> None:
    text = """
    try:
        with_env()
    except gym_service.errors.ServerStartError as error:
        say(ascii(str(error)))
    """.replace("\n    ", "\n")
    usual = keys()
    del usual["keep_warm_s"]
    expected = group.run(OPEN.format(keys=usual) + text, COUNTED=deed)
    assert group.run(opening() + text, COUNTED=deed) == expected
    assert "did not start" in expected[0]
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_an_import_that_is_killed_is_not_tried_again_and_again(group: Programs, tmp_path: Path) -> None:
    """As the kernel kills it where memory is too short."""
    record = "open(os.environ['COUNTED_IN'], 'a').write(str(os.getpid()) + chr(10))"
    (tmp_path / "killed.py").write_text(f"import os\n{record}\nos.kill(os.getpid(), 9)\n")
    text = opening(entry_point="killed:Env", pythonpath=[str(tmp_path)])
    text += """
    try:
        with_env()
    except gym_service.errors.ServerStartError as error:
        say(error.exit_code)
    """.replace("\n    ", "\n")
    started = [group.start(text) for _ in range(2)]
    assert [(program.end(), program.lines()) for program in started] == [(0, ["-9"])] * 2
    # Each of them tries once to keep it, and then starts a server in the ordinary way.
    assert len(importers(group)) == 4
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_an_import_that_hangs_ends_at_its_timeout(group: Programs) -> None:
    text = """
    try:
        with_env()
    except gym_service.errors.ServerStartError as error:
        say(error)
    """.replace("\n    ", "\n")
    lines = group.run(opening(timeouts={"start": 10}) + text, COUNTED="hang")
    assert (
        lines[0]
        == "the server of 'Counted' did not start: it was not up after 10 s (blocked); its Python code was here:"
    )
    assert "    still here" in lines
    group.assert_nothing_is_left(SOON_S)


def as_another_user(text: str, path: Path) -> subprocess.Popen[str]:
    """A process of another user that has a Unix socket, ``sock``, and the path as an argument."""
    # It may not execute this interpreter, so it becomes the other user after that.
    begin = "import os, socket, sys; sock = socket.socket(socket.AF_UNIX); os.setuid(65534); "
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", begin + text, str(path)], stdin=pipe, stdout=pipe, text=True)


@LONG
def test_a_socket_of_another_user(group: Programs) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    group.run(opening() + ONCE)
    stop_at = sockets(group)[0]
    stop(group)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(stop_at))
        os.chown(stop_at, 65534, 65534)
    told, _ = group.run(opening() + ONCE)
    assert told == f"warning: 'Counted' is not kept warm: {stop_at} is the socket of user 65534"
    stop_at.unlink()
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_a_server_of_another_user_is_no_server(group: Programs) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    group.run(opening() + ONCE)
    path = sockets(group)[0]
    stop(group)
    for folder in path.parents[1:4]:
        folder.chmod(0o755)
    path.parent.chmod(0o777)
    other = as_another_user("sock.bind(sys.argv[1]); sock.listen(); print(flush=True); sys.stdin.read()", path)
    try:
        assert other.stdout
        assert other.stdout.readline() == "\n"
        path.parent.chmod(0o700)
        told, _ = group.run(opening() + ONCE)
        assert "is not kept warm: that server belongs to user 65534" in told
    finally:
        other.communicate()
    path.unlink()
    group.assert_nothing_is_left(SOON_S)


def test_another_user_is_not_served(group: Programs) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    group.run(opening() + ONCE)
    path = sockets(group)[0]
    # The folder and the socket keep others out; without them its guardian still does.
    path.chmod(0o666)
    for folder in path.parents[:4]:
        folder.chmod(0o755)
    asking = "sock.connect(sys.argv[1]); sock.settimeout(10); print(sock.recv(64))"
    assert as_another_user(asking, path).communicate()[0] == "b''\n"
    group.run(opening() + ONCE)
    assert len(importers(group)) == 1
    stop(group)


@LONG
def test_a_client_that_breaks_the_rules(group: Programs) -> None:
    program = group.start(opening() + UNTIL_TOLD)
    program.says()
    frame = warm_connection.FRAME.pack
    with open(os.devnull, "rb") as file:
        null = file.fileno()
        cases: list[tuple[bytes, list[int]]] = [
            (b"GET / HTTP/1.1\r\n\r\n", []),
            (frame(warm_connection.ASK, 0, 1) + b"5", []),
            (frame(warm_connection.ASK, 1, 3) + b"inf", [null]),
            (frame(warm_connection.ASK, 1, 3) + b"one", [null]),
            (frame(warm_connection.ASK, 3, 1) + b"5", [null]),
            (frame(warm_connection.ORDER, 4, 2) + b"0\0", [null] * 4),
            (frame(warm_connection.ASK, 1, 1) + b"5" + frame(warm_connection.ORDER, 0, 0), [null]),
            (frame(warm_connection.REQUEST, 0, 2**32 - 1), []),
        ]
        for data, fds in cases:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(sockets(group)[0]))
                fd_passing.send(sock, data, fds)
                sock.settimeout(SOON_S)
                said = b""
                with contextlib.suppress(ConnectionResetError):
                    while more := sock.recv(64):
                        said += more
                assert re.fullmatch(rb"(here \d+\nready \d+\n)?", said)
    program.hears()
    assert (program.end(), program.lines()) == (0, ["0.0"])
    group.run(opening() + ONCE)
    assert len(importers(group)) == 1
    stop(group)


@pytest.mark.parametrize(
    ("folder", "why"),
    [("/tmp/" + 120 * "x", "is longer than 107 bytes"), ("/dev/null", "cannot be bound: Not a directory")],
)
@LONG
def test_a_runtime_folder_that_cannot_be_used(group: Programs, folder: str, why: str) -> None:
    told, _ = group.run(opening() + ONCE, XDG_RUNTIME_DIR=folder)
    assert told.startswith(f"warning: 'Counted' is not kept warm: {folder}/gym-service/warm-")
    assert why in told
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_a_file_in_the_place_of_the_socket(group: Programs) -> None:
    group.run(opening() + ONCE)
    path = sockets(group)[0]
    stop(group)
    path.write_text("something else")
    told, _ = group.run(opening() + ONCE)
    assert told == f"warning: 'Counted' is not kept warm: {path} exists and is not a socket"
    assert path.read_text() == "something else"
    path.unlink()
    group.assert_nothing_is_left(SOON_S)
