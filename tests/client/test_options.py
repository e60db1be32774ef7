"""The keywords of ``make`` and ``make_vec``: their types, and what happens to any other keyword."""

import ast
import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gym_service_launcher.config import entry as entries
from gym_service_launcher.spelling import misspelt

import gym_service
from gym_service.errors import ConfigError, EnvTypeError
from gym_service.factory import options

MAKES = [gym_service.make]
if int(gymnasium.__version__.partition(".")[0]) >= 1:
    MAKES.append(gym_service.make_vec)


@pytest.mark.parametrize(
    ("declared", "accepted"),
    [
        (options.EntryOptions, list(entries.ENTRY_KEYS)),
        (options.TimeoutOptions, [each.name for each in dataclasses.fields(entries.Timeouts)]),
    ],
)
def test_the_typed_keywords_are_the_keys_of_an_entry_and_each_is_documented(declared: Any, accepted: list[str]) -> None:
    assert list(typing.get_type_hints(declared)) == accepted
    assert declared.__total__ is False
    tree = ast.parse(inspect.getsource(options))
    body = next(each.body for each in tree.body if isinstance(each, ast.ClassDef) and each.name == declared.__name__)
    fields = [each for each in body if isinstance(each, ast.AnnAssign)]
    docs = [body[body.index(each) + 1 : body.index(each) + 2] for each in fields]
    undocumented = [
        ast.unparse(field.target)
        for field, doc in zip(fields, docs, strict=True)
        if not (doc and isinstance(doc[0], ast.Expr) and isinstance(doc[0].value, ast.Constant))
    ]
    assert undocumented == []


def test_the_words_that_a_type_allows_are_those_that_the_launcher_accepts() -> None:
    base = {"python": sys.executable}
    for key, hint in typing.get_type_hints(options.EntryOptions).items():
        words = [word for each in typing.get_args(hint) for word in typing.get_args(each) if isinstance(word, str)]
        if not words or typing.get_origin(typing.get_args(hint)[0]) is not typing.Literal:
            continue
        for word in words:
            assert getattr(entries.entry("X-v0", {**base, key: word}), key) == word
        with pytest.raises(ConfigError) as refused:
            entries.entry("X-v0", {**base, key: "another word"})
        assert str(refused.value).count('"') == 2 * (len(words) + 2)  # the name, the wrong word, and each right one


def test_both_can_be_imported_to_annotate_service() -> None:
    assert gym_service.EntryOptions is options.EntryOptions
    assert gym_service.TimeoutOptions is options.TimeoutOptions


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(
    ("keyword", "meant"),
    [
        ("pyhton", "python"),
        ("requries", "requires"),
        ("timeout", "timeouts"),
        ("Imports", "imports"),
        ("max_epsiode_step", "max_episode_steps"),
        ("rendermode", "render_mode"),
    ],
)
def test_a_keyword_that_looks_misspelt_is_refused(make: Callable[..., Any], keyword: str, meant: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make("CartPole-v1", **{"python": "./there_is_no_such_env", keyword: "x"})
    assert str(refused.value) == (
        f'given in Python for "CartPole-v1": {keyword}: unknown keyword; did you mean "{meant}"?\n'
        f'  try: {meant}=…; or kwargs={{"{keyword}": …}} if it is an argument of the simulator'
    )
    assert (refused.value.file, refused.value.key) == (None, keyword)


def test_the_parameters_of_make_vec_are_known_words_too() -> None:
    for keyword, meant in {"num_env": "num_envs", "auto_reset_mode": "autoreset_mode", "worker": "workers"}.items():
        with pytest.raises(ConfigError, match=f'{keyword}: unknown keyword; did you mean "{meant}"'):
            gym_service.make_vec("CartPole-v1", 2, **{"python": "./there_is_no_such_env", keyword: 1})


# Keywords of well-known simulators that resemble a key of gym-service.
@pytest.mark.parametrize("keyword", ["frameskip", "frame_skip", "max_steps", "worker_id", "env_name", "port", "ip"])
def test_a_keyword_of_a_simulator_is_none_of_ours(keyword: str) -> None:
    assert misspelt(keyword, [*entries.ENTRY_KEYS, "render_mode", "num_envs", "autoreset_mode"]) is None
    with pytest.raises(EnvTypeError, match=keyword):
        gym_service.make("CartPole-v1", python=sys.executable, **{keyword: 1})


def test_kwargs_reach_the_simulator_whatever_their_names_are() -> None:
    with pytest.raises(EnvTypeError, match="pyhton"):
        gym_service.make("CartPole-v1", python=sys.executable, kwargs={"pyhton": 1})


def test_a_misspelt_keyword_of_gym_make_goes_to_the_simulator(tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_text(f'[envs."Pole-v0"]\npython = "{sys.executable}"\nid = "CartPole-v1"\n')
    gym_service.use(tmp_path / "envs.toml")
    try:
        with pytest.raises(EnvTypeError, match="pyhton"):
            gymnasium.make("gym_service/Pole-v0", pyhton=1)
    finally:
        (tmp_path / "empty.toml").write_text("")
        gym_service.use(tmp_path / "empty.toml")


def test_a_render_mode_of_none_is_passed_on_and_one_that_is_not_given_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = (
        f'[envs."Pole-v0"]\npython = "{sys.executable}"\nid = "CartPole-v1"\nkwargs = {{ render_mode = "rgb_array" }}'
    )
    (tmp_path / "envs.toml").write_text(entry)
    monkeypatch.chdir(tmp_path)
    for given, expected in (({}, "rgb_array"), ({"render_mode": None}, None)):
        with gym_service.make("Pole-v0", **given) as env:  # type: ignore[arg-type]
            assert env.render_mode == expected
            assert ("render_mode" in env.spec.kwargs) is ("render_mode" in given)
