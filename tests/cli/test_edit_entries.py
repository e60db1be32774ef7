"""gym-service init, add NAME, add --venv, remove, ids and schema: what they write, what of the user's remains."""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.config import entry as entries
from gym_service_launcher.config import envs_file
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters.find import find_interpreter
from support.targets import REPOSITORY, TARGETS

from gym_service.cli import envs_editor, schema

ENVS = """\
# the lab's own file

[interpreters.sim]          # shared
python = "3.10"

# about the first
[envs."First-v0"]
interpreter = "sim"         # why
kwargs = { text = '''
[envs.Not-a-header]
''' }

# about the second
[envs.Second-v0]
python = "./sim_env"
# inside of the second
id = "Sim-v0"
[envs.Second-v0.timeouts]
step = inf

# about the third
[envs.'Third-v0']
python = "3.10"
"""


def run(folder: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gym_service", *map(str, words)]
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GYM_SERVICE_ENVS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def entry_in(folder: Path, name: str) -> Entry:
    found = envs_file.load(folder / "envs.toml").entries[name]
    assert isinstance(found, Entry)
    return found


def test_init_writes_a_file_that_is_valid_and_changes_none(tmp_path: Path) -> None:
    assert run(tmp_path, "init").returncode == 0
    text = (tmp_path / "envs.toml").read_text()
    assert text.startswith("#:schema https://")
    assert not envs_file.load(tmp_path / "envs.toml").problems
    again = run(tmp_path, "init")
    assert again.returncode == 2
    assert "exists and is not changed" in again.stderr
    assert (tmp_path / "envs.toml").read_text() == text


def test_add_keeps_all_that_stands_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_text(ENVS)
    words = ["--python", "3.10", "--requires", "gym-pusht", "numpy<2", "--id", "gym_pusht/PushT-v0"]
    added = run(tmp_path, "add", "New-v0", *words, "--import", "gym_pusht", "--kwargs", '{"a": {"b": [1, 2.5]}}')
    assert (added.returncode, added.stderr) == (0, "")
    assert (tmp_path / "envs.toml").read_text().startswith(ENVS)
    made = entry_in(tmp_path, "New-v0")
    assert (made.id, made.imports, made.requires) == ("gym_pusht/PushT-v0", ("gym_pusht",), ("gym-pusht", "numpy<2"))
    assert made.kwargs == {"a": {"b": [1, 2.5]}}
    again = run(tmp_path, "add", "New-v0", *words)
    assert (again.returncode, again.stdout) == (2, "")
    assert "has an entry 'New-v0' already" in again.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("add", "No/Name", "--python", "3.10", "--requires", "x"), "is not a name"),
        (("add", "X-v0", "--requires", "x"), "no interpreter"),
        (("add", "X-v0", "--python", "./nowhere"), "does not exist"),
        (("add", "X-v0", "--address", "tcp:1"), "is not an address"),
        (("add", "X-v0"), "is no bundle, and nothing says where the env is"),
        (("add", "X-v0", "--python", "3.10", "--kwargs", "[1]"), "is not a JSON object"),
        (("add", "X-v0", "--python", "3.10", "--kwargs", '{"a": [null]}'), "for which TOML has no form"),
        (("remove", "Secnod-v0"), "try: 'Second-v0'"),
    ],
)
def test_mistakes_leave_the_file_as_it_is(tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    (tmp_path / "envs.toml").write_text(ENVS)
    ran = run(tmp_path, *words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert reason in ran.stderr
    assert (tmp_path / "envs.toml").read_text() == ENVS
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["envs.toml"]


@pytest.mark.parametrize(
    "words",
    [
        ("--python", "sims/sim_env", "--entry-point", "arms:Reach"),
        ("--python", "./sims/sim_env", "--requires", "gym-pusht"),
        ("--python", "sims/sim_env/bin/python", "--id", "arms/Reach-v0", "--import", "arms"),
        ("--venv", "sims/sim_env", "--id", "arms/Reach-v0", "--import", "arms"),
    ],
)
def test_a_relative_interpreter_is_the_same_one_in_a_file_elsewhere(tmp_path: Path, words: tuple[str, ...]) -> None:
    venv.create(tmp_path / "sims/sim_env", symlinks=True)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/envs.toml").touch()
    added = run(tmp_path, "add", "New-v0", *words, "--envs", "lab/envs.toml")
    assert (added.returncode, added.stderr) == (0, "")
    made = entry_in(tmp_path / "lab", "New-v0")
    assert made.python is not None
    assert find_interpreter(made.python, made.folder) == tmp_path / "sims/sim_env/bin/python"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("add", "--venv", "../sim_env"), "--venv ./sim_env"),
        (("add", "New-v0", "--python", "./sim_env/bin"), "--python ./sim_env"),
        (("run", "--venv", "lab/sim_env"), "--venv ./sim_env"),
        (("run", "--python", "./sim_evn"), "--python ./sim_env"),
        (("ids", "/sim_env"), "{folder}/sim_env"),
    ],
)
def test_a_wrong_path_of_an_interpreter_is_corrected_in_the_option(
    tmp_path: Path, words: tuple[str, ...], advice: str
) -> None:
    venv.create(tmp_path / "sim_env", symlinks=True)
    ran = run(tmp_path, *words)
    assert (ran.returncode, ran.stdout) == (2, "")
    given = ran.stderr.rpartition("  try: ")[2].partition(" (relative paths start from ")[0].strip()
    assert given == advice.replace("{folder}", str(tmp_path))


def test_remove_takes_one_entry_and_leaves_comments(tmp_path: Path) -> None:
    (tmp_path / "envs.toml").write_text(ENVS)
    removed = run(tmp_path, "remove", "Second-v0")
    assert (removed.returncode, removed.stdout) == (0, f"removed Second-v0 from {tmp_path}/envs.toml\n")
    begin, end = ENVS.index("[envs.Second-v0]"), ENVS.index("# about the third")
    assert (tmp_path / "envs.toml").read_text() == ENVS[:begin] + "\n" + ENVS[end:]
    (tmp_path / "envs.toml").write_text(ENVS)
    assert run(tmp_path, "remove", "First-v0").returncode == 0
    begin, end = ENVS.index('[envs."First-v0"]'), ENVS.index("# about the second")
    assert (tmp_path / "envs.toml").read_text() == ENVS[:begin] + "\n" + ENVS[end:]
    (tmp_path / "envs.toml").write_text(ENVS)
    removed = run(tmp_path, "remove", "First-v0", "Third-v0", "Second-v0")
    assert '[interpreters.sim] is not used: no entry has interpreter = "sim"' in removed.stdout
    assert list(envs_file.load(tmp_path / "envs.toml").entries) == []


@pytest.mark.parametrize(
    "text",
    [
        '[envs]\nA = { python = "3.10" }\nB.python = "3.10" # why\n',
        'envs.A.python = "3.10"\nenvs.B.python = "3.10"\n',
        '[envs.A]\r\npython = "3.10"\r\n\r\n# kept\r\n[envs.B]\r\npython = "3.10"\r\n',
        '[envs.A]\npython = "3.10"\n[interpreters.x]\npython = "3.10"\n[envs.A.kwargs]\nx = 1\n[envs.B]\nid = "b"\n',
    ],
)
def test_remove_knows_every_form_of_a_table(text: str) -> None:
    changed = envs_editor.without_entry(text, "A")
    assert set(envs_editor.tomlkit.parse(changed).unwrap()["envs"]) == {"B"}
    assert ("\r\n" in changed) == ("\r\n" in text)
    assert all(comment in changed for comment in ("# why", "# kept") if comment in text)


def test_the_ids_of_an_interpreter_are_found_with_their_imports(tmp_path: Path) -> None:
    python = TARGETS["pusht"].python()
    shown = run(tmp_path, "ids", python)
    assert (shown.returncode, shown.stdout) == (0, 'gym_pusht/PushT-v0  imports = ["gym_pusht"]\n')
    assert "gym_service" not in run(tmp_path, "ids", sys.executable).stdout  # whose ids stand for other interpreters
    (found,) = json.loads(run(tmp_path, "ids", python, "--json").stdout)["ids"]
    assert found == {"id": "gym_pusht/PushT-v0", "import": "gym_pusht"}
    added = run(tmp_path, "add", "--venv", python.parent.parent)
    assert (added.returncode, added.stderr) == (0, "")
    made = entry_in(tmp_path, "PushT-v0")
    assert (made.id, made.imports) == ("gym_pusht/PushT-v0", ("gym_pusht",))
    assert made.python == str(python.parent.parent)
    wrong = run(tmp_path, "add", "Other-v0", "--venv", python.parent.parent, "--id", "gym_pusht/PsuhT-v0")
    assert "try: --id gym_pusht/PushT-v0" in wrong.stderr


def test_an_id_may_name_the_module_that_registers_it(tmp_path: Path) -> None:
    sim_env = TARGETS["pusht"].python().parent.parent
    env_id = "gym_pusht:gym_pusht/PushT-v0"
    for words in (("--venv", sim_env), ("Named-1.0", "--python", sim_env)):
        added = run(tmp_path, "add", *words, "--id", env_id)
        assert (added.returncode, added.stderr) == (0, "")
    for name in ("PushT-v0", "Named-1.0"):
        made = entry_in(tmp_path, name)
        assert (made.id, made.imports) == (env_id, ())  # gym.make imports the module
    listed = json.loads(run(tmp_path, "list", "--json").stdout)["entries"]
    assert [(one["name"], one["state"]) for one in listed] == [("PushT-v0", "found"), ("Named-1.0", "found")]
    checked = run(tmp_path, "check", "Named-1.0")
    assert checked.returncode == 0, checked.stdout
    assert run(tmp_path, "remove", "Named-1.0").returncode == 0
    assert list(envs_file.load(tmp_path / "envs.toml").entries) == ["PushT-v0"]


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [
        ("gym_pusht:gym_pusht/PsuhT-v0", "has no id 'gym_pusht:gym_pusht/PsuhT-v0'\n  try: --id gym_pusht/PushT-v0"),
        ("numpy:gym_pusht/PushT-v0", "has no id 'numpy:gym_pusht/PushT-v0'\n  try: --id gym_pusht/PushT-v0"),
        ("no_such:CartPole-v1", "no_such in {python} cannot be imported: ModuleNotFoundError"),
    ],
)
def test_an_id_whose_module_does_not_register_it_is_refused(tmp_path: Path, env_id: str, reason: str) -> None:
    python = TARGETS["pusht"].python()
    wrong = run(tmp_path, "add", "--venv", python.parent.parent, "--id", env_id)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert reason.replace("{python}", str(python)) in wrong.stderr
    assert not (tmp_path / "envs.toml").exists()


def test_an_entry_is_named_after_the_id_alone_and_by_the_user_where_there_is_none(tmp_path: Path) -> None:
    venv.create(tmp_path / "sim_env", symlinks=True)
    words = ["add", "--venv", "./sim_env"]
    for given in (["--entry-point", "arms.envs:Reach"], ["--requires", "arms"]):
        nameless = run(tmp_path, *words, *given)
        assert (nameless.returncode, nameless.stdout) == (2, "")
        assert nameless.stderr.startswith("gym-service: the name of the entry is missing\n  try: gym-service add NAME")
    assert not (tmp_path / "envs.toml").exists()
    assert run(tmp_path, *words, "--id", "arms:Reach-v0", "--import", "arms").returncode == 0
    assert entry_in(tmp_path, "Reach-v0").id == "arms:Reach-v0"
    assert run(tmp_path, "add", "Point", *words[1:], "--entry-point", "arms.envs:Reach").returncode == 0
    assert entry_in(tmp_path, "Point").entry_point == "arms.envs:Reach"


# -- the schema --------------------------------------------------------------------------------------------------------


def test_the_schema_of_the_docs_is_the_generated_one() -> None:
    assert (REPOSITORY / "docs/envs.schema.json").read_text() == schema.text(), (
        "gym-service schema > docs/envs.schema.json"
    )


def test_the_schema_knows_every_key_and_what_excludes_what() -> None:
    env = schema.schema()["properties"]["envs"]["additionalProperties"]
    assert list(env["properties"]) == list(entries.ENTRY_KEYS)
    assert all(one["description"] for one in env["properties"].values())
    assert {"not": {"required": ["entry_point", "id"]}} in env["allOf"]


@pytest.mark.parametrize(
    ("keys", "is_valid"),
    [
        ({"python": "3.10", "timeouts": {"step": 1}, "frames": "jpeg:90", "max_episode_steps": -1}, True),
        ({"command": ["ssh", "host"], "wrappers": ["a.b:C"], "python": "3", "requires": ["x"], "post": [["a"]]}, True),
        ({"pyton": "3.10"}, False),
        ({"python": 3.1}, False),
        ({"python": "3.10", "timeouts": {"stop": 1}}, False),
        ({"python": "3.10", "restart": "always"}, False),
        ({"id": "X", "entry_point": "a:b"}, False),
        ({"python": "3.10", "frames": "png"}, False),
        ({"python": "3.10", "requires": [], "post": [[]]}, False),
        ({"python": "3.10", "prefork": 1}, False),
        ({"python": "3.10", "workers": 0}, False),
        ({"python": "3.10", "environ": {"N": 1}}, False),
        ({"interpreter": "sim", "imports": "gym_pusht"}, False),
        ({"interpreter": "sim", "kwargs": {"any": [{"thing": None}]}, "arena_mib": 0}, True),
    ],
)
def test_the_schema_and_the_checks_agree(keys: dict[str, Any], is_valid: bool) -> None:
    assert allows(schema.schema(), {"envs": {"X": keys}}) == is_valid
    interpreters = {"sim": entries.Interpreter(python="3.10")}
    try:
        entries.entry("X", keys, file=Path("/x/envs.toml"), interpreters=interpreters)
    except ConfigError:
        assert not is_valid
    else:
        assert is_valid


def allows(part: dict[str, Any], value: Any) -> bool:
    """Whether a schema that uses only these keywords of draft 7 allows a value; jsonschema gives the same result."""
    inside = part.get("properties", {})
    others = {key: one for key, one in value.items() if key not in inside} if isinstance(value, dict) else {}
    of_others = part.get("additionalProperties", True)
    checks = {
        "type": lambda want: isinstance(value, TYPES[want]) and (want == "boolean" or not isinstance(value, bool)),
        "enum": lambda words: value in words,
        "const": lambda word: value == word,
        "pattern": lambda pattern: re.search(pattern, value) is not None,
        "minLength": lambda length: len(value) >= length,
        "minItems": lambda length: len(value) >= length,
        "minimum": lambda bound: value >= bound,
        "maximum": lambda bound: value <= bound,
        "exclusiveMinimum": lambda bound: value > bound,
        "items": lambda each: all(allows(each, item) for item in value),
        "properties": lambda keys: all(allows(keys[key], value[key]) for key in keys if key in value),
        "additionalProperties": lambda _: all(
            allows(of_others, one) if isinstance(of_others, dict) else of_others for one in others.values()
        ),
        "propertyNames": lambda each: all(allows(each, key) for key in value),
        "required": lambda keys: all(key in value for key in keys),
        "anyOf": lambda parts: any(allows(each, value) for each in parts),
        "allOf": lambda parts: all(allows(each, value) for each in parts),
        "not": lambda each: not allows(each, value),
    }
    # In this order: the type decides whether the other checks apply.
    return all(checks[word](part[word]) for word in checks if word in part)


TYPES = {"string": str, "array": list, "object": dict, "number": (int, float), "integer": int, "boolean": bool}
