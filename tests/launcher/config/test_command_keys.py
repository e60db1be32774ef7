"""Entries whose interpreter is reached by a command: what their keys mean, and what runs for them."""

import json
import os
import re
import subprocess
import sys
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.config import entry as entries
from gym_service_launcher.config import envs_file
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.servers import over_command, source_bundle
from support.paths import REPOSITORY

SSH = list(over_command.SSH)
WORDS = list(source_bundle.WORDS)


def given(table: dict[str, Any], **others: Any) -> Entry:
    return entries.entry("X-v0", table, **others)


def in_file(folder: Path, text: str) -> Entry:
    (folder / "envs.toml").write_text(text)
    entry = envs_file.load(folder / "envs.toml").entries["X-v0"]
    assert isinstance(entry, Entry), str(entry)
    return entry


def refused(table: dict[str, Any], **others: Any) -> str:
    with pytest.raises(ConfigError) as error:
        given(table, **others)
    return str(error.value).removeprefix('given in Python for "X-v0": ')


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"command": ["ssh", "sim-host"]}, ["ssh", "sim-host", "python3"]),
        ({"command": ["ssh", "h"], "python": "3.10"}, ["ssh", "h", "python3.10"]),
        ({"command": ["ssh", "h"], "python": "./sim_env"}, ["ssh", "h", "./sim_env/bin/python"]),
        ({"command": ["ssh", "h"], "python": "~/sim env"}, ["ssh", "h", "~/'sim env/bin/python'"]),
        ({"command": ["ssh", "h"], "python": "~bob/x;y/python3"}, ["ssh", "h", "~bob/'x;y/python3'"]),
        ({"command": ["/usr/bin/ssh", "h"], "python": "a b/python"}, ["/usr/bin/ssh", "h", "'a b/python'"]),
        (
            {"command": ["docker", "run", "-i", "--rm", "I"], "python": "/sim env/"},
            [*["docker", "run", "-i", "--rm", "I"], "/sim env/bin/python"],
        ),
        (
            {"command": ["apptainer", "exec", "s.sif"], "python": "/isaac/python.sh"},
            [*["apptainer", "exec", "s.sif"], "/isaac/python.sh"],
        ),
        ({"command": ["srun", "-n1"], "python": "/opt/v/bin/python3.8"}, ["srun", "-n1", "/opt/v/bin/python3.8"]),
        ({"command": ["srun", "-n1"], "python": Path("venvs/python-3")}, ["srun", "-n1", "venvs/python-3/bin/python"]),
        ({"python": "ssh://sim-host/opt/sim"}, [*SSH, "--", "sim-host", "/opt/sim/bin/python"]),
        ({"python": "ssh://me@h:2222/opt/sim/bin/python3"}, [*SSH, "-p", "2222", "--", "me@h", "/opt/sim/bin/python3"]),
        ({"python": "ssh://me@h/~/sim env"}, [*SSH, "--", "me@h", "~/'sim env/bin/python'"]),
        ({"python": "ssh://[::1]:22/v"}, [*SSH, "-p", "22", "--", "::1", "/v/bin/python"]),
        ({"python": "ssh://a@[fe80::1%eth0]/v"}, [*SSH, "--", "a@fe80::1%eth0", "/v/bin/python"]),
    ],
)
def test_what_is_run_on_this_machine(keys: dict[str, Any], words: list[str]) -> None:
    entry = given(keys)
    assert entry.is_remote
    assert list(over_command.route_of(entry).argv) == words + WORDS


def test_no_word_of_ours_means_anything_to_a_shell() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", word) for word in source_bundle.WORDS)


@pytest.mark.parametrize(
    "keys",
    ['command = ["ssh", "h"]\npython = "~/sim"', 'python = "ssh://h/~/sim"', 'interpreter = "far"'],
)
def test_paths_are_those_of_the_other_place(tmp_path: Path, keys: str) -> None:
    text = f'[interpreters]\nfar = {{ python = "ssh://h/~/sim" }}\n[envs."X-v0"]\n{keys}\n'
    entry = in_file(tmp_path, f'{text}cwd = "~/runs"\npythonpath = ["repo", "./lib", "/abs"]')
    assert str(entry.cwd) == "~/runs"
    assert [str(folder) for folder in entry.pythonpath] == ["repo", "lib", "/abs"]
    assert over_command.route_of(entry).python == "~/sim/bin/python"


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"command": "ssh h"}, 'command: "ssh h" is a string; expected a list of strings'),
        ({"command": ["ssh", ""]}, 'command[1]: "" is empty'),
        (
            {"command": ["ssh", "h"], "interpreter": "sim"},
            "interpreter: cannot be combined with command: it names an interpreter of this machine; "
            "set python to the remote one",
        ),
        (
            {"command": ["ssh", "h"], "address": "unix:///s"},
            "command: cannot be combined with address: the server at an address is already running",
        ),
        (
            {"command": ["ssh", "h"], "transport": "unix"},
            'transport: "unix" needs both sides on one machine; a command uses "stdio"',
        ),
        (
            {"command": ["docker"], "python": "ssh://h/v"},
            "python: an ssh:// address cannot be combined with command: it is short for one",
        ),
        (
            {"command": ["docker"], "python": "conda:sim"},
            'python: "conda:sim" works on this machine only; expected the path of its bin/python on the remote side',
        ),
        (
            {"command": ["docker"], "python": 3.1},
            'python: 3.1 is a float; expected a string: put a version in quotes, such as "3.10"',
        ),
        *(
            (
                {"python": url},
                f"python: {json.dumps(url)} is not an address; expected ssh://user@host:port/path/to/venv",
            )
            for url in (
                "ssh://h",
                "ssh:h/v",
                "ssh://h:0/v",
                "ssh://-oProxyCommand=x/v",
                "ssh://a@b@c/v",
                "ssh://-u@h/v",
            )
        ),
    ],
)
def test_a_mistake_names_its_key_and_what_is_right(keys: dict[str, Any], what: str) -> None:
    assert refused(keys) == what


def test_keys_given_in_python_move_an_entry_there_and_back(tmp_path: Path) -> None:
    here = in_file(
        tmp_path,
        '[envs."X-v0"]\npython = "./env"\nrequires = ["numpy"]\ncwd = "r"\npythonpath = ["l"]\nenviron = {A = "1"}',
    )
    there = given({"command": ["ssh", "h"]}, base=here)
    assert (there.python, there.requires, there.cwd, there.pythonpath) == (None, None, None, ())
    assert there.environ == {"A": "1"}
    assert over_command.route_of(there).argv[:3] == ("ssh", "h", "python3")
    elsewhere = given({"python": "./v", "cwd": "~/r"}, base=there)
    assert (elsewhere.command, elsewhere.python, str(elsewhere.cwd)) == (("ssh", "h"), "./v", "~/r")
    by_url = given({"python": "ssh://other/v"}, base=elsewhere)
    assert (by_url.command, by_url.python, str(by_url.cwd)) == ((), "ssh://other/v", "~/r")
    back = given({"python": "./env"}, base=by_url)
    assert (back.is_remote, back.python, back.cwd) == (False, str(tmp_path / "env"), None)
    attached = given({"address": "unix:///s"}, base=elsewhere)
    assert (attached.is_remote, attached.command, attached.python) == (False, (), None)
    assert given({"command": ["ssh", "h"]}, base=attached).address is None
    assert given({"command": []}, base=here).python == str(tmp_path / "env")
    assert "no interpreter" in refused({"command": []}, base=elsewhere)


def test_an_interpreter_of_the_file_leads_back_from_a_command() -> None:
    far = given({"command": ["ssh", "h"], "cwd": "there"})
    here = given({"interpreter": "sim"}, base=far, interpreters={"sim": entries.Interpreter("3.10")})
    assert (here.is_remote, here.python, here.cwd) == (False, "3.10", None)


def test_what_travels_is_all_that_the_server_loads_and_nothing_of_the_client() -> None:
    words = "import project; print(*(path.relative_to(project.ROOT) for path in project.python_36_files()), sep='\\n')"
    listed = subprocess.run(
        [sys.executable, "-c", words], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    python_36 = {name.removeprefix("launcher/") for name in listed}
    sent = source_bundle.sources()
    assert not sent["gym_service/__init__.py"]
    assert not sent["gym_service_launcher/__init__.py"]
    in_target = {name for name in python_36 if name.startswith("gym_service/testing/")}  # run by path, on one machine
    assert in_target
    only_here = {name for name in python_36 if name.rpartition("/")[2] in source_bundle.ONLY_HERE}
    assert len(only_here) == len(source_bundle.ONLY_HERE)
    empty = {"gym_service/__init__.py", "gym_service_launcher/__init__.py"}
    assert set(sent) - empty == python_36 - in_target - only_here


def test_what_is_secret_is_in_the_order_and_on_no_command_line() -> None:
    entry = given({"command": ["ssh", "h"], "environ": {"TOKEN": "s3cret"}})
    assert "s3cret" not in repr(over_command.route_of(entry).argv)
    packed = source_bundle.make_bundle(
        python="p", environ=entry.environ, pythonpath=["a"], cwd="", mark=b"\1\2", close_s=float("inf")
    )
    program, order, end = packed.decode("ascii").splitlines()
    assert len(program) < 4096  # the longest line that a terminal keeps
    assert end == "import os; os._exit(1)"
    read = json.loads(zlib.decompress(b64decode(order)))
    assert (read["environ"], read["mark"], read["close_s"]) == ({"TOKEN": "s3cret"}, "0102", float("inf"))
    assert os.linesep not in order
