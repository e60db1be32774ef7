"""The token's file: which processes create it, and which files are refused."""

import base64
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from gym_service_launcher.errors import AuthError
from gym_service_launcher.net import tokens

SECRET = bytes(range(100, 116))


def written(file: Path, content: bytes, mode: int = 0o600) -> Path:
    file.write_bytes(content)
    file.chmod(mode)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(AuthError) as error:
        tokens.read_or_make(file)
    with pytest.raises(AuthError) as again:
        tokens.read(file)
    assert str(again.value) == str(error.value)
    return str(error.value)


def test_a_server_makes_one_for_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "config/gym-service/token"
    made = tokens.read_or_make(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(file.read_text())) >= 16
    assert os.listdir(file.parent) == ["token"]
    assert tokens.read(file).sign(b"x") == tokens.read_or_make(file).sign(b"x") == made.sign(b"x")
    assert tokens.read_or_make(tmp_path / "another").sign(b"x") != made.sign(b"x")


def test_a_client_makes_none(tmp_path: Path) -> None:
    with pytest.raises(AuthError, match=r"does not exist\n  try: copy the token file"):
        tokens.read(tmp_path / "token")
    assert not os.listdir(tmp_path)


def test_servers_that_start_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from gym_service_launcher.net import tokens; print(flush=True); sys.stdin.read(1)\n"
        "for number in range(50):\n"
        "    print(tokens.read_or_make(pathlib.Path(sys.argv[1]) / str(number) / 'token').sign(b'x').hex())"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    servers = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(6)]
    for server in servers:
        assert server.stdout
        server.stdout.readline()
    for server in servers:  # all of them are running, and wait for this line
        assert server.stdin
        server.stdin.close()
    signs = set()
    for server in servers:
        with server:
            assert server.stdout
            signs.add(server.stdout.read())
        assert server.returncode == 0
    assert len(signs) == 1
    assert len(set(signs.pop().split())) == 50
    assert all(os.listdir(folder) == ["token"] for folder in tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_one_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    file = written(tmp_path / "token", SECRET.hex().encode(), mode)
    assert refusal(file) == (
        f"the token file {file} can be read by other users (mode 0{mode:o})\n  try: chmod 600 {file}"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has 0 bytes; a token has 16 or more"),
        (b"\n", "has 0 bytes; a token has 16 or more"),
        (SECRET[:15].hex().encode(), "has 15 bytes; a token has 16 or more"),
        (b"c2hvcnQ=", "has 5 bytes; a token has 16 or more"),
        (b"correct horse battery staple", "is not a token: it contains neither hex nor base64"),
        (b"\xff" * 32, "is not a token: it contains neither hex nor base64"),
    ],
)
def test_one_that_is_none_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    file = written(tmp_path / "token", content)
    text = refusal(file)
    assert text.splitlines()[0] == f"the token file {file} {reason}"
    assert file.read_bytes() == content


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "is not a regular file" in refusal(tmp_path / "fifo")
    (tmp_path / "folder").mkdir(mode=0o700)
    assert "is not a regular file" in refusal(tmp_path / "folder")


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    written(tmp_path / "file", b"")
    with pytest.raises(AuthError, match=r"cannot be created: (Not a directory|File exists)"):
        tokens.read_or_make(tmp_path / "file/gym-service/token")


def test_hex_and_each_form_of_base64_are_the_same_token(tmp_path: Path) -> None:
    secret = bytes(range(240, 256)) + SECRET  # its base64 contains a + or a /
    plain, url = base64.b64encode(secret), base64.urlsafe_b64encode(secret)
    forms = [secret.hex().encode(), secret.hex().upper().encode() + b"\n", plain, url, url.rstrip(b"=") + b"\r\n"]
    files = [written(tmp_path / str(number), form) for number, form in enumerate(forms)]
    assert plain != url
    assert len({tokens.read(file).sign(b"x") for file in files}) == 1


def test_the_secret_is_not_shown(tmp_path: Path) -> None:
    file = written(tmp_path / "token", SECRET.hex().encode())
    token = tokens.read(file)
    assert repr(token) == f"<Token: the token file {file}>"
    with pytest.raises(TypeError):
        pickle.dumps(token)
    short = written(tmp_path / "short", SECRET[:15].hex().encode())
    assert SECRET[:15].hex() not in refusal(short)


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert tokens.usual_file() == tmp_path / ".config/gym-service/token"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    assert tokens.usual_file() == tmp_path / "elsewhere/gym-service/token"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert tokens.usual_file() == tmp_path / ".config/gym-service/token"
