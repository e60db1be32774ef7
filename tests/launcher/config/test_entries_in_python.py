"""The keys of an entry given in Python: alone, or on top of an entry of a file."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.config import entry as entries
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError
from support.envs_files import an_entry, loaded


def given(table: dict[str, Any], **others: Any) -> Entry:
    return entries.entry("X-v0", table, **others)


def test_python_gives_paths_tuples_and_callables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entry = given({"python": Path("sim_env"), "imports": ("a",), "wrappers": [dict], "pythonpath": [Path("x")]})
    assert entry.python == str(tmp_path / "sim_env")
    assert (entry.imports, entry.wrappers, entry.pythonpath) == (("a",), (dict,), (tmp_path / "x",))
    assert (entry.file, entry.folder) == (None, tmp_path)
    monkeypatch.chdir("/")
    assert entry.folder == tmp_path


def test_a_name_given_in_python_may_be_the_real_id() -> None:
    assert entries.entry("gym_pusht/PushT-v0", {"python": "3.10"}).id == "gym_pusht/PushT-v0"


def test_a_mistake_in_python_says_that_it_stands_there() -> None:
    with pytest.raises(ConfigError) as error:
        given({"python": "3.10", "timeouts": {"step": "fast"}})
    assert str(error.value) == (
        'given in Python for "X-v0": timeouts.step: '
        '"fast" is a string; expected seconds: a number above 0, or inf for no limit'
    )
    assert error.value.__dict__ == {"file": None, "key": "timeouts.step"}


def test_keys_are_laid_shallowly_over_an_entry(tmp_path: Path) -> None:
    below = an_entry(tmp_path, 'python = "3.8"\nrequires = ["a"]\nkwargs = { a = 1, b = 2 }\nmax_episode_steps = 9')
    entry = given({"kwargs": {"a": 3}, "cwd": "here", "max_episode_steps": None}, base=below)
    assert entry == dataclasses.replace(below, kwargs={"a": 3}, cwd=tmp_path / "here")
    assert below.kwargs == {"a": 1, "b": 2}


def test_another_answer_to_the_same_question_takes_the_first_away(tmp_path: Path) -> None:
    below = an_entry(tmp_path, 'python = "3.8"\nrequires = ["a"]\nid = "A-v0"\nenviron = { A = "1" }')
    other = given({"python": "./mine"}, base=below)
    assert (other.python, other.requires, other.environ) == (str(tmp_path / "mine"), None, {"A": "1"})
    attached = given({"address": "tcp://h:1", "token_file": "t"}, base=below)
    assert (attached.python, attached.requires, attached.environ, attached.id) == (None, None, {}, "A-v0")
    assert given({"python": "3.9"}, base=attached).address is None
    assert given({"python": "3.9"}, base=attached).token_file is None
    pointed = given({"entry_point": "a:b"}, base=below)
    assert (pointed.entry_point, pointed.id) == ("a:b", "X-v0")
    assert given({"id": "B-v0"}, base=pointed).entry_point is None


def test_an_entry_with_an_address_takes_nothing_that_starts_a_server(tmp_path: Path) -> None:
    below = an_entry(tmp_path, 'address = "unix:///s"')
    with pytest.raises(ConfigError, match=r"environ: cannot be combined with address: "):
        given({"environ": {}}, base=below)


def test_an_interpreter_of_the_file_can_be_named_in_python(tmp_path: Path) -> None:
    toml = '[interpreters]\nsim = { python = "3.9", requires = ["a"] }\n[envs."X-v0"]\npython = "3.8"'
    file = loaded(tmp_path, toml)
    below = file.entries["X-v0"]
    assert isinstance(below, Entry)
    entry = given({"interpreter": "sim"}, base=below, interpreters=file.interpreters)
    assert (entry.python, entry.requires) == ("3.9", ("a",))
