"""From envs.toml to Gymnasium's registry and through ``gym.make``: the design's promises for ids and specs."""

import os
import sys
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from support.registered import WriteEnvs, entry, play_to_the_end, run_python

import gym_service
from gym_service.errors import ConfigError, EnvTypeError

# Enough of Gymnasium's module to put an id into it; importing it fails until a test repairs it.
REGISTRATION = """
import sys

if getattr(sys, "broken", True):
    raise ImportError("broken")
registry = {}

class EnvSpec:
    def __init__(self, id, entry_point, **more):
        self.id, self.entry_point = id, entry_point
"""
GYMNASIUM = tuple(int(part) for part in gym.__version__.split(".")[:2])


# -- what is registered ------------------------------------------------------------------------------------------


def test_every_entry_is_an_id_that_gymnasium_lists(write_envs: WriteEnvs, capsys: pytest.CaptureFixture[str]) -> None:
    write_envs(entry("Pole-v0") + entry("Other"))
    assert {"gym_service/Pole-v0", "gym_service/Other"} <= set(gym.registry)
    gym.pprint_registry()
    shown = capsys.readouterr().out
    assert "gym_service" in shown
    assert "gym_service/Pole-v0" in shown


def test_importing_registers_the_file_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_text(entry("Here-v0"))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    code = "import gymnasium, gym_service; print([i for i in gymnasium.registry if i.startswith('gym_service/')])"
    assert run_python(code, cwd=tmp_path / "deep" / "er").stdout == "['gym_service/Here-v0']\n"


def test_an_id_with_the_module_before_it_needs_no_import(tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_text(entry("Pole-v0"))
    code = """
import gymnasium as gym
env = gym.make("gym_service:gym_service/Pole-v0")
print(env.reset(seed=1)[0].shape)
env.close()
"""
    done = run_python(code, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("(4,)\n", 0), done.stderr


def test_gymnasium_before_1_0_registers_through_its_plugins(tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_text(entry("Pole-v0"))
    done = run_python("import gymnasium; print('gym_service/Pole-v0' in gymnasium.registry)", cwd=tmp_path)
    assert done.stdout == f"{GYMNASIUM < (1, 0)}\n", done.stderr


@pytest.mark.parametrize("content", ["[envs.", '[envs."Pole-v0"]\npython = 3', "\xff\xfe", "[envs]\nPole = 5"])
def test_no_file_can_break_an_import(tmp_path: Path, content: str) -> None:
    (tmp_path / "envs.toml").write_text(content, encoding="latin-1")
    done = run_python("import gymnasium, gym_service; print('fine')", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_a_named_file_that_is_missing_warns_at_import_and_breaks_nothing(tmp_path: Path) -> None:
    env = {**os.environ, "GYM_SERVICE_ENVS": str(tmp_path / "nowhere.toml")}
    done = run_python("import gym_service; print('fine')", env=env)
    assert done.stdout == "fine\n"
    assert "nowhere.toml" in done.stderr


@pytest.mark.parametrize("order", ["import gym_service, gymnasium", "import gymnasium, gym_service"])
def test_ids_are_there_whichever_is_imported_first(write_envs: WriteEnvs, order: str) -> None:
    env = {**os.environ, "GYM_SERVICE_ENVS": str(write_envs(entry("Pole-v0")))}
    code = f"{order}\nprint('gym_service/Pole-v0' in gymnasium.registry)"
    assert run_python(code, env=env).stdout == "True\n"


def test_waiting_for_gymnasium_hides_no_module_from_an_import_that_is_under_way(
    write_envs: WriteEnvs, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text("print('imported')")
    env = {**os.environ, "GYM_SERVICE_ENVS": str(write_envs(entry("Pole-v0")))}
    # Like an import of Gymnasium in another thread at that moment, but reproducible.
    code = """
import importlib.machinery, sys
import gym_service

class Nested:
    def find_spec(self, name, path, target=None):
        if name == "other":
            import gymnasium

sys.meta_path.insert(sys.meta_path.index(importlib.machinery.PathFinder), Nested())
import other
"""
    done = run_python(code, env=env, cwd=tmp_path)
    assert done.stdout == "imported\n", done.stderr


def test_from_an_archive_and_after_a_failure_ids_are_registered_once(write_envs: WriteEnvs, tmp_path: Path) -> None:
    """In an archive, one loader loads all modules of a folder."""
    archive, second = tmp_path / "all.zip", tmp_path / "second.toml"
    first = write_envs(entry("First-v0"))
    second.write_text(entry("Second-v0"))
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("gymnasium/__init__", "gymnasium/envs/__init__", "gymnasium/envs/later"):
            opened.writestr(f"{name}.py", "")
        opened.writestr("gymnasium/error.py", "class Error(Exception): pass")
        opened.writestr("gymnasium/envs/registration.py", REGISTRATION)
    code = f"""
import sys
sys.path.insert(0, {os.fspath(archive)!r})
import gym_service
try:
    import gymnasium.envs.registration
except ImportError as error:
    print(error)
sys.broken = False
from gymnasium.envs.registration import registry
print(list(registry))
gym_service.use({os.fspath(second)!r})
import gymnasium.envs.later
print(list(registry))
"""
    done = run_python(code, env={**os.environ, "GYM_SERVICE_ENVS": str(first)})
    assert done.stdout == "broken\n['gym_service/First-v0']\n['gym_service/Second-v0']\n", done.stderr


def test_using_a_file_before_gymnasium_is_there(tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(entry("First-v0"))
    second.write_text(entry("Second-v0"))
    env = {**os.environ, "GYM_SERVICE_ENVS": str(first)}
    code = f"import gym_service; print(gym_service.use({os.fspath(second)!r}))\n"
    code += "import gymnasium; print([i for i in gymnasium.registry if i.startswith('gym_service/')])"
    assert run_python(code, env=env).stdout == "['gym_service/Second-v0']\n" * 2


def test_a_file_is_looked_for_where_the_program_was_at_the_import(tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_text(entry("Pole-v0"))
    code = "import os, gym_service; os.chdir('/'); import gymnasium; print('gym_service/Pole-v0' in gymnasium.registry)"
    assert run_python(code, cwd=tmp_path).stdout == "True\n"


def test_importing_loads_neither_the_client_nor_gymnasium_nor_numpy() -> None:
    code = "import sys, gym_service; print(*sorted(m for m in sys.modules if m.startswith('gym_service.')))"
    code += "; print({'gymnasium', 'numpy'} & {*sys.modules})"
    factory = [f"gym_service.factory{name}" for name in ("", ".forked_making", ".import_hook", ".make")]
    assert run_python(code).stdout == f"{' '.join(factory)}\nset()\n"


def test_what_starts_a_server_loads_neither_gymnasium_nor_numpy() -> None:
    """Otherwise the server could not load its own while this process is loading them."""
    code = "import sys, gym_service.factory.open_env; print({'gymnasium', 'numpy'} & {*sys.modules})"
    assert run_python(code).stdout == "set()\n"


def test_using_another_file_forgets_the_ids_of_the_first(write_envs: WriteEnvs) -> None:
    write_envs(entry("First-v0"))
    path = write_envs(entry("Second-v0"))
    assert "gym_service/First-v0" not in gym.registry
    assert gym_service.use(path) == ["gym_service/Second-v0"]


def test_a_name_with_and_one_without_a_version_stand_side_by_side(write_envs: WriteEnvs) -> None:
    write_envs(entry("Pole") + entry("Pole-v0"))
    assert {"gym_service/Pole", "gym_service/Pole-v0"} <= set(gym.registry)


# -- what is broken says so when it is made ----------------------------------------------------------------------


def test_a_broken_entry_says_what_is_broken_and_the_others_work(write_envs: WriteEnvs) -> None:
    path = write_envs(entry("Good-v0") + entry("Bad-v0", "pyhton = 3"))
    with pytest.raises(ConfigError, match=r'envs\."Bad-v0"\.pyhton') as caught:
        gym.make("gym_service/Bad-v0")
    assert str(path) in str(caught.value)
    assert "python" in str(caught.value)
    gym.make("gym_service/Good-v0").close()


def test_the_ids_of_a_file_that_is_no_toml_say_so(write_envs: WriteEnvs) -> None:
    path = write_envs(entry("Pole-v0") + "this is = = no toml")
    with pytest.raises(ConfigError, match="line 5") as caught:
        gym.make("gym_service/Pole-v0")
    assert caught.value.file == str(path)


def test_a_broken_entry_can_be_asked_twice(write_envs: WriteEnvs) -> None:
    write_envs(entry("Bad-v0", "pyhton = 3"))
    texts = []
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            gym.make("gym_service/Bad-v0")
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_an_entry_that_has_gone_since_is_named(write_envs: WriteEnvs) -> None:
    path = write_envs(entry("Pole-v0"))
    path.write_text(entry("Cart-v0"))
    with pytest.raises(ConfigError, match=r"no key 'Pole-v0' any more"):
        gym.make("gym_service/Pole-v0")


def test_without_a_file_gymnasium_says_it_itself(write_envs: WriteEnvs) -> None:
    write_envs("")
    with pytest.raises((gym.error.NameNotFound, gym.error.NamespaceNotFound)):
        gym.make("gym_service/Nothing-v0")


def test_make_without_a_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r'python="\./sim_env"'):
        gym_service.make("Nothing-v0")


# -- gym.make ----------------------------------------------------------------------------------------------------


def test_the_simulators_own_wrappers_are_not_put_on_twice(write_envs: WriteEnvs) -> None:
    write_envs(entry("Pole-v0"))
    with gym.make("gym_service/Pole-v0") as env:
        assert env is env.unwrapped
        assert isinstance(env, gym_service.RemoteEnv)
        assert env.unwrapped.target["env"] == "CartPoleEnv"
        assert env.spec is not None
        assert (env.spec.id, env.spec.max_episode_steps) == ("gym_service/Pole-v0", 500)
        assert env.unwrapped._max_episode_steps == 500


def test_keywords_go_to_the_simulator_over_those_of_the_entry(write_envs: WriteEnvs) -> None:
    write_envs(entry("Lake-v0", 'kwargs = { map_name = "8x8", is_slippery = false }', "FrozenLake-v1"))
    with gym.make("gym_service/Lake-v0") as env:
        assert env.observation_space.n == 64
    with gym.make("gym_service/Lake-v0", map_name="4x4", render_mode="ansi") as env:
        assert env.observation_space.n == 16
        assert env.render_mode == "ansi"
        env.reset(seed=0)
        assert env.render().count("\n") == 5
    with pytest.raises(EnvTypeError, match="no_such_keyword"):
        gym.make("gym_service/Lake-v0", no_such_keyword=1)


def test_service_is_laid_over_the_entry_and_checked_like_it(write_envs: WriteEnvs) -> None:
    write_envs(entry("Pole-v0", "timeouts = { step = 7 }"))
    with gym.make("gym_service/Pole-v0", service={"transport": "stdio"}) as env:
        assert env.reset(seed=1)[0].shape == (4,)
    with pytest.raises(ConfigError, match=r"transprot.*transport"):
        gym.make("gym_service/Pole-v0", service={"transprot": "stdio"})


def test_a_reset_seeds_the_one_generator_which_is_the_simulators(write_envs: WriteEnvs) -> None:
    write_envs(entry("Pole-v0"))
    with gym.make("gym_service/Pole-v0") as env, gym.make("CartPole-v1") as inside:
        env.reset(seed=123)
        inside.reset(seed=123)
        assert env.unwrapped.np_random.random() == inside.unwrapped.np_random.random()
        assert env.unwrapped.np_random.random() != np.random.default_rng(123).random()
        assert not hasattr(env.unwrapped, "seed")


def test_make_takes_the_keys_of_an_entry_and_gives_the_rest_to_the_simulator() -> None:
    with gym_service.make("FrozenLake-v1", python=sys.executable, map_name="8x8", render_mode="ansi") as env:
        assert env.observation_space.n == 64
        assert env.render_mode == "ansi"
    with gym_service.make("FrozenLake-v1", python=sys.executable, kwargs={"map_name": "8x8"}) as env:
        assert env.observation_space.n == 64


def test_make_by_the_name_of_an_entry(write_envs: WriteEnvs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_envs(entry("Pole-v0"))
    monkeypatch.chdir(tmp_path)
    for name in ("Pole-v0", "gym_service/Pole-v0"):
        with gym_service.make(name, max_episode_steps=3) as env:
            assert play_to_the_end(env) == (3, False, True)
    with pytest.raises(ConfigError, match=r"no key 'Pole-v1'; it has: Pole-v0\n  try: 'Pole-v0'$"):
        gym_service.make("Pole-v1")
    with pytest.raises(ConfigError, match=r"try: python=\"./sim_env\" \(a venv\), or a table \[envs.\"Boat\"\]"):
        gym_service.make("Boat")


# -- a step in two halves ----------------------------------------------------------------------------------------


def test_a_step_in_two_halves_is_the_step() -> None:
    with (
        gym_service.make("CartPole-v1", python=sys.executable) as halves,
        gym_service.make("CartPole-v1", python=sys.executable) as whole,
    ):
        halves.reset(seed=3)
        whole.reset(seed=3)
        for action in (0, 1, 1, 0):
            halves.step_async(action)
            expected = whole.step(action)
            observation, *rest = halves.step_wait()
            assert observation.tobytes() == expected[0].tobytes()
            assert tuple(rest) == expected[1:]


def test_halves_out_of_order_are_refused_and_do_no_harm() -> None:
    with gym_service.make("CartPole-v1", python=sys.executable) as env:
        env.reset(seed=3)
        with pytest.raises(gym.error.NoAsyncCallError):
            env.step_wait()
        env.step_async(1)
        for call in (lambda: env.step_async(0), env.reset, lambda: env.gravity):
            with pytest.raises(gym.error.AlreadyPendingCallError, match="while step waits"):
                call()
        assert env.step_wait()[1] == 1.0
        assert env.gravity == 9.8
