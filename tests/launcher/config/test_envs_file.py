"""envs.toml: the meaning of each key, and the exact text of each error."""

import dataclasses
import math
import os
import pickle
from pathlib import Path

import pytest
from gym_service_launcher.config import entry as entries
from gym_service_launcher.config import envs_file
from gym_service_launcher.config.entry import Entry, Timeouts
from gym_service_launcher.errors import ConfigError
from support.envs_files import an_entry, an_error, loaded, said


def test_an_entry_that_says_only_its_interpreter_has_every_default(tmp_path: Path) -> None:
    entry = an_entry(tmp_path, 'python = "3.10"')
    assert entry == Entry("X-v0", tmp_path / "envs.toml", python="3.10")
    assert dataclasses.asdict(entry) | {"created_in": None} == {
        "name": "X-v0",
        "file": tmp_path / "envs.toml",
        "python": "3.10",
        "interpreter": None,
        "requires": None,
        "requirements": None,
        "project": None,
        "constraints": None,
        "build_requires": (),
        "system_packages": (),
        "post": (),
        "auto_sync": True,
        "id": "X-v0",
        "imports": (),
        "argv": ("",),
        "kwargs": {},
        "setup": (),
        "activate": (),
        "environ": {},
        "cwd": None,
        "pythonpath": (),
        "max_episode_steps": None,
        "wrappers": (),
        "entry_point": None,
        "api": None,
        "address": None,
        "token_file": None,
        "tls_ca": None,
        "tls_sha256": None,
        "command": (),
        "transport": "unix",
        "timeouts": {"start": 120, "reset": 120, "step": 60, "render": 60, "call": 60, "close": 5},
        "restart": "never",
        "prefork": False,
        "keep_warm_s": None,
        "workers": 1,
        "frames": "raw",
        "max_message_mib": 64,
        "arena_mib": 256,
        "output": "tail",
        "arrays": "numpy",
        "actions": None,
        "vectorized": False,
        "num_envs_key": "num_envs",
        "created_in": None,
    }


def test_every_key_arrives(tmp_path: Path) -> None:
    keys = """
        python = "./sim_env"
        requires = ["numpy==1.19.5", "./repo"]
        id = "gym_pusht/PushT-v0"
        imports = ["gym_pusht"]
        kwargs = { obs_type = "pixels", deep = { list = [1, 2.5, "a"], day = 1979-05-27 } }
        environ = { MUJOCO_GL = "egl", EMPTY = "" }
        cwd = "./repo"
        pythonpath = ["repo", "../lib", "/abs"]
        max_episode_steps = 400
        wrappers = ["package.module:Wrapper"]
        api = "gym"
        transport = "stdio"
        timeouts = { step = inf, close = 1 }
        output = "show"
        restart = "never"
        prefork = false
        workers = 4
        frames = "jpeg:90"
        arena_mib = 0
        command = []
    """
    entry = an_entry(tmp_path, keys)
    assert entry.python == str(tmp_path / "sim_env")
    assert entry.requires == ("numpy==1.19.5", "./repo")
    assert entry.id == "gym_pusht/PushT-v0"
    assert entry.imports == ("gym_pusht",)
    assert entry.kwargs["obs_type"] == "pixels"
    assert entry.kwargs["deep"]["list"] == [1, 2.5, "a"]
    assert entry.kwargs["deep"]["day"].isoformat() == "1979-05-27"
    assert entry.environ == {"MUJOCO_GL": "egl", "EMPTY": ""}
    assert entry.cwd == tmp_path / "repo"
    assert entry.pythonpath == (tmp_path / "repo", tmp_path.parent / "lib", Path("/abs"))
    assert entry.max_episode_steps == 400
    assert entry.workers == 4
    assert entry.arena_mib == 0
    assert entry.wrappers == ("package.module:Wrapper",)
    assert (entry.api, entry.transport, entry.output) == ("gym", "stdio", "show")
    assert entry.timeouts == Timeouts(step=math.inf, close=1.0)
    assert type(entry.timeouts.close) is float
    assert entry.folder == tmp_path
    assert pickle.loads(pickle.dumps(entry)) == entry


def test_an_entry_may_attach_to_an_address(tmp_path: Path) -> None:
    entry = an_entry(tmp_path, 'address = "tcp://sim-host:2333"\ntoken_file = "~/token"\nentry_point = "a.b:c"')
    assert (entry.address, entry.python, entry.entry_point) == ("tcp://sim-host:2333", None, "a.b:c")
    assert entry.token_file == Path(os.path.expanduser("~/token"))


@pytest.mark.parametrize("address", ["unix:///run/sim.sock", "tcp://127.0.0.1:1", "tcp://[::1]:65535"])
def test_addresses(tmp_path: Path, address: str) -> None:
    assert an_entry(tmp_path, f'address = "{address}"').address == address


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("3.10", "3.10"),
        ("3.10.13", "3.10.13"),
        ("conda:sim", "conda:sim"),
        ("python3", "python3"),
        ("./sim_env", "{folder}/sim_env"),
        ("sim_env/bin/python", "{folder}/sim_env/bin/python"),
        ("../sim_env", "{parent}/sim_env"),
        (".", "{folder}"),
        ("/opt/sim/bin/python", "/opt/sim/bin/python"),
        ("~/sim", "{home}/sim"),
    ],
)
def test_a_python_is_a_path_only_if_it_looks_like_one(tmp_path: Path, python: str, expected: str) -> None:
    known = {"folder": tmp_path, "parent": tmp_path.parent, "home": os.path.expanduser("~")}
    assert an_entry(tmp_path, f'python = "{python}"').python == expected.format(**known)


def test_no_path_is_resolved_through_its_links(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "project").symlink_to(elsewhere)
    (elsewhere / "python").symlink_to("/usr/bin/env")
    (elsewhere / "envs.toml").write_text('[envs."X-v0"]\npython = "./python"\ncwd = "."')
    entry = envs_file.load(tmp_path / "project/envs.toml").entries["X-v0"]
    assert isinstance(entry, Entry)
    assert entry.python == str(tmp_path / "project/python")
    assert entry.cwd == entry.folder == tmp_path / "project"


def test_interpreters_are_named_once_and_used_often(tmp_path: Path) -> None:
    toml = """
        [envs.A]
        interpreter = "sim"
        [interpreters.sim]
        python = "./env"
        requires = ["gym-pusht"]
        [envs.B]
        interpreter = "sim"
    """
    file = loaded(tmp_path, toml)
    assert list(file.entries) == ["A", "B"]
    for entry in file.entries.values():
        assert isinstance(entry, Entry)
        assert (entry.python, entry.requires) == (str(tmp_path / "env"), ("gym-pusht",))
    assert file.interpreters == {"sim": entries.Interpreter(str(tmp_path / "env"), requires=("gym-pusht",))}
    assert file.problems == ()


@pytest.mark.parametrize(
    ("name", "own"),
    [("ALE/Pong-v5", "ALE-Pong-v5"), ("module:Pong-v5", "module-Pong-v5"), ("a b/c", "a-b-c")],
)
def test_a_name_that_gymnasium_would_not_take_says_where_it_belongs(tmp_path: Path, name: str, own: str) -> None:
    error = an_error(tmp_path, f'[envs."{name}"]\npython = "3.10"', name)
    assert said(tmp_path, error) == (
        f'envs."{name}": the key is your own name for the env; it may have letters, digits, and - _ . only; '
        f'write [envs."{own}"] with id = "{name}"'
    )


def test_an_entry_that_is_no_table(tmp_path: Path) -> None:
    error = an_error(tmp_path, '[envs]\n"X-v0" = 3')
    assert said(tmp_path, error) == 'envs."X-v0": 3 is an integer; expected a table'


def test_ids_under_a_misspelt_envs_are_there_and_say_so(tmp_path: Path) -> None:
    file = loaded(tmp_path, '[env."X-v0"]\npython = "3.10"\n[envs.Good]\npython = "3.10"\n[qqq]')
    error = file.entries["X-v0"]
    assert isinstance(error, ConfigError)
    assert said(tmp_path, error) == 'env: unknown key; did you mean "envs"?'
    assert isinstance(file.entries["Good"], Entry)
    assert [said(tmp_path, problem) for problem in file.problems] == [
        'env: unknown key; did you mean "envs"?',
        "qqq: unknown key; known are envs, interpreters",
    ]


def test_a_section_that_is_no_table_is_a_problem_of_the_file(tmp_path: Path) -> None:
    file = loaded(tmp_path, "envs = 3")
    assert file.entries == {}
    assert [said(tmp_path, problem) for problem in file.problems] == ["envs: 3 is an integer; expected a table"]


NO_TOML = {
    b"python = 3.10.13\n": ("(at line 2, column 14): python = 3.10.13", "one key in each line; a # begins a comment"),
    b'python = "3.10\n': ('(at line 2, column 15): python = "3.10', "a closing quotation mark, which this line lacks"),
    b"kwargs = {": ("(at line 2, column 11, the end of the file)", ""),
    b"# caf\xe9\n": ("(at line 2, column 6)", ""),
    b'python = "3"\npython = "4"\n': (
        '(at line 3, column 13): python = "4"',
        "the key stands there twice: keep one of the two",
    ),
    b'[envs."X-v0"]\n': (
        '(at line 2, column 13): [envs."X-v0"]',
        "the table stands there twice: keep one of the two, or give the second another name",
    ),
    b"id = CartPole-v1\n": (
        "(at line 2, column 6): id = CartPole-v1",
        'a text stands in straight quotes, such as id = "CartPole-v1"; numbers, true and false in none',
    ),
}


@pytest.mark.parametrize(("content", "said_of_it"), NO_TOML.items())
def test_no_toml_names_the_line_and_what_to_try(tmp_path: Path, content: bytes, said_of_it: tuple[str, str]) -> None:
    (tmp_path / "envs.toml").write_bytes(b'[envs."X-v0"]\n' + content)
    error = envs_file.load(tmp_path / "envs.toml").entries["X-v0"]
    assert isinstance(error, ConfigError)
    what, _, advice = said(tmp_path, error).partition("\n  try: ")
    assert what.startswith("invalid TOML: ")
    assert what.endswith(said_of_it[0])
    assert advice == said_of_it[1]
    assert error.__dict__["key"] is None


def test_the_namespace_is_no_part_of_a_key(tmp_path: Path) -> None:
    error = loaded(tmp_path, '[envs."gym_service/X-v0"]').entries["gym_service/X-v0"]
    assert isinstance(error, ConfigError)
    assert said(tmp_path, error).endswith('is no part of the key; write [envs."X-v0"]')


def test_in_a_file_that_is_no_toml_every_id_of_a_header_says_so(tmp_path: Path) -> None:
    toml = """
        [ envs . "A-v0" ]
        [envs."A-v0".kwargs]
        [envs.'B-v0'] # a comment
        [envs.C-v0]
        # [envs.no]
        [envs.D-v0.timeouts
    """
    file = loaded(tmp_path, toml)
    assert list(file.entries) == ["A-v0", "B-v0", "C-v0", "D-v0"]
    assert len(set(map(id, file.entries.values()))) == 1
    assert file.problems == (file.entries["A-v0"],)


@pytest.mark.parametrize("content", [b"a = " + b"9" * 5000, b"a = " + b"[" * 100_000], ids=["digits", "depth"])
def test_content_that_python_itself_gives_up_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "envs.toml").write_bytes(b"[envs.A]\n" + content)
    error = envs_file.load(tmp_path / "envs.toml").entries["A"]
    assert isinstance(error, ConfigError)
    assert said(tmp_path, error).startswith("invalid TOML: ")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_bytes(b'\xef\xbb\xbf[envs.A]\r\npython = "3.10"\r\n')
    assert isinstance(envs_file.load(tmp_path / "envs.toml").entries["A"], Entry)


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as missing:
        envs_file.load(tmp_path / "envs.toml")
    assert said(tmp_path, missing.value) == "cannot be read: No such file or directory"
    with pytest.raises(ConfigError) as folder:
        envs_file.load(tmp_path)
    assert str(folder.value) == f"{tmp_path}: cannot be read: Is a directory"


# Which file is used.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder and a working directory, neither with a file."""
    monkeypatch.delenv("GYM_SERVICE_ENVS", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "project/deep/er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project/deep/er")
    return tmp_path / "home"


def written(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    return file


def test_the_nearest_file_holds(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = home.parent / "project"
    assert envs_file.find() is None
    in_home = written(home / ".config/gym-service/envs.toml")
    assert envs_file.find() == in_home
    in_xdg = written(home / "xdg/gym-service/envs.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert envs_file.find() == in_xdg
    above = written(project / "envs.toml")
    assert envs_file.find() == above
    (project / "deep/er/envs.toml").mkdir()
    assert envs_file.find() == above, "a folder of that name is no file"
    here = written(project / "deep/envs.toml")
    assert envs_file.find() == here
    named = written(home / "mine.toml")
    monkeypatch.setenv("GYM_SERVICE_ENVS", "~/mine.toml")
    assert envs_file.find() == named


def test_a_named_file_that_is_missing_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(home.parent / "project/envs.toml")
    monkeypatch.setenv("GYM_SERVICE_ENVS", str(home / "gone.toml"))
    with pytest.raises(ConfigError) as error:
        envs_file.find()
    assert str(error.value) == f"{home}/gone.toml: does not exist ($GYM_SERVICE_ENVS names it)"
    monkeypatch.setenv("GYM_SERVICE_ENVS", str(home))
    with pytest.raises(ConfigError, match=f"{home}: is a folder, not a file "):
        envs_file.find()


def test_a_deleted_working_directory_has_no_parents(home: Path) -> None:
    os.rmdir(home.parent / "project/deep/er")
    file = written(home / ".config/gym-service/envs.toml")
    assert envs_file.find() == file
    assert envs_file.load(file).entries == {}
