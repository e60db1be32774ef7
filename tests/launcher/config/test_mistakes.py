"""The error for each mistake in an entry names its key and says what is right."""

from pathlib import Path

import pytest
from gym_service_launcher.config import envs_file
from gym_service_launcher.config.entry import Entry
from support.envs_files import an_error, said

MISTAKES = [
    # Unknown keys, with the nearest right spelling or where the value belongs.
    ('pyhton = "3.10"', 'envs."X-v0".pyhton', 'unknown key; did you mean "python"?'),
    ('obs_type = "state"', 'envs."X-v0".obs_type', "unknown key; arguments of the simulator belong in kwargs"),
    ("timeouts = { stp = 3 }", 'envs."X-v0".timeouts.stp', 'unknown key; did you mean "step"?'),
    (
        "timeouts = { qqq = 3 }",
        'envs."X-v0".timeouts.qqq',
        "unknown key; known are start, reset, step, render, call, close",
    ),
    # Wrong types: what was found, what is expected.
    (
        "python = 3.10",
        'envs."X-v0".python',
        '3.1 is a float; expected a string: put a version in quotes, such as "3.10"',
    ),
    ("python = true", 'envs."X-v0".python', "true is a boolean; expected a string"),
    ("id = 3", 'envs."X-v0".id', "3 is an integer; expected a string"),
    ('id = ""', 'envs."X-v0".id', '"" is empty'),
    ('cwd = "a\\u0000"', 'envs."X-v0".cwd', '"a\\u0000" contains a NUL character'),
    ('imports = "gym_pusht"', 'envs."X-v0".imports', '"gym_pusht" is a string; expected a list of strings'),
    ('imports = ["a", 3]', 'envs."X-v0".imports[1]', "3 is an integer; expected a string"),
    ("kwargs = [1]", 'envs."X-v0".kwargs', "[1] is a list; expected a table"),
    (
        "environ = { THREADS = 1 }",
        'envs."X-v0".environ.THREADS',
        '1 is an integer; expected a string, such as "1", or false to unset it',
    ),
    (
        "environ = { ON = true }",
        'envs."X-v0".environ.ON',
        'true is a boolean; expected a string, such as "true", or false to unset it',
    ),
    (
        "activate = 3",
        'envs."X-v0".activate',
        "3 is an integer; expected a string",
    ),
    (
        'activate = ["setup.sh", ""]',
        'envs."X-v0".activate[1]',
        '"" is empty',
    ),
    (
        'setup = ["package.function"]',
        'envs."X-v0".setup[0]',
        '"package.function" is not an import path; expected "package.module:name"',
    ),
    (
        'environ = { "A=B" = "c" }',
        'envs."X-v0".environ."A=B"',
        "the name of an environment variable cannot contain =",
    ),
    (
        'timeouts = { step = "fast" }',
        'envs."X-v0".timeouts.step',
        '"fast" is a string; expected seconds: a number above 0, or inf for no limit',
    ),
    (
        "timeouts = { step = true }",
        'envs."X-v0".timeouts.step',
        "true is a boolean; expected seconds: a number above 0, or inf for no limit",
    ),
    (
        "timeouts = { step = 0 }",
        'envs."X-v0".timeouts.step',
        "0 is not a time limit; expected seconds above 0, or inf for no limit",
    ),
    (
        "timeouts = { step = nan }",
        'envs."X-v0".timeouts.step',
        "nan is not a time limit; expected seconds above 0, or inf for no limit",
    ),
    (
        "timeouts = { step = 1e30 }",
        'envs."X-v0".timeouts.step',
        "1e+30 is not a time limit; expected seconds above 0, or inf for no limit",
    ),
    (
        "max_episode_steps = 0",
        'envs."X-v0".max_episode_steps',
        "0 is not a number of steps; expected 1 or more, or -1 for no limit",
    ),
    ("max_episode_steps = 4.0", 'envs."X-v0".max_episode_steps', "4.0 is a float; expected an integer"),
    (
        'wrappers = ["Wrapper"]',
        'envs."X-v0".wrappers[0]',
        '"Wrapper" is not an import path; expected "package.module:name"',
    ),
    (
        'api = "Gym"',
        'envs."X-v0".api',
        '"Gym" is not known; expected "gymnasium" or "gym" or "dm_env" or "robosuite" or "parallel" or "aec"',
    ),
    ('transport = "tcp"', 'envs."X-v0".transport', '"tcp" is not known; expected "unix" or "stdio"'),
    (
        'address = "localhost:3"',
        'envs."X-v0".address',
        '"localhost:3" is not an address; expected unix:///path or tcp://host:port',
    ),
    (
        'address = "tcp://a:70000"',
        'envs."X-v0".address',
        '"tcp://a:70000" is not an address; expected unix:///path or tcp://host:port',
    ),
    # Keys that exclude or require each other.
    (
        'interpreter = "sim"\npython = "3.10"',
        'envs."X-v0".python',
        "cannot be combined with interpreter: set it in the [interpreters.NAME] table",
    ),
    (
        'id = "A-v0"\nentry_point = "a:b"',
        'envs."X-v0".id',
        "cannot be combined with entry_point: each of them names the env to make",
    ),
    *(
        (
            f'address = "unix:///x"\n{key} = {value}',
            f'envs."X-v0".{key}',
            "cannot be combined with address: the server at an address is already running",
        )
        for key, value in {
            "interpreter": '"sim"',
            "python": '"3.10"',
            "requires": "[]",
            "transport": '"unix"',
            "environ": "{}",
            "cwd": '"."',
            "pythonpath": "[]",
            "output": '"show"',
            "prefork": "true",
        }.items()
    ),
    (
        'python = "3.10"\ntoken_file = "t"',
        'envs."X-v0".token_file',
        'needs address = "tcp://…": only a server on TCP asks for a token',
    ),
    (
        'address = "unix:///s"\ntls_ca = "ca.pem"',
        'envs."X-v0".tls_ca',
        'needs address = "tcp://…": only TCP uses TLS',
    ),
    (
        'address = "tcp://h:1"\ntls_sha256 = "00ff"',
        'envs."X-v0".tls_sha256',
        '"00ff" is not the SHA-256 of a certificate; expected 64 hex digits, as gym-service run prints them',
    ),
    (
        "kwargs = {}",
        'envs."X-v0"',
        'no interpreter; set python = "./sim_env" (a venv), "3.10" or "conda:NAME"',
    ),
    ('interpreter = "smi"', 'envs."X-v0".interpreter', 'there is no interpreter "smi"; did you mean "sim"?'),
    (
        'interpreter = "qqq"',
        'envs."X-v0".interpreter',
        'there is no interpreter "qqq"; expected the NAME of an [interpreters.NAME] table',
    ),
    # A mistake in an interpreter's own table is reported for every entry that uses it.
    ('interpreter = "broken"', "interpreters.broken.pythn", 'unknown key; did you mean "python"?'),
    (
        'interpreter = "bare"',
        "interpreters.bare",
        'python is missing; set it to "./sim_env" (a venv), "3.10" or "conda:NAME"',
    ),
    ('python = "3.10"\nprefork = 1', 'envs."X-v0".prefork', "1 is an integer; expected true or false"),
    *(
        (
            f'python = "3.10"\nframes = "{frames}"',
            'envs."X-v0".frames',
            f'"{frames}" is not known; expected "raw", "zlib", "auto", or "jpeg:1" to "jpeg:100"',
        )
        for frames in ("jpeg", "jpeg:0", "jpeg:101", "jpeg:9.5", "png", "Zlib", "raw ")
    ),
    ("frames = 90", 'envs."X-v0".frames', "90 is an integer; expected a string"),
    ("workers = true", 'envs."X-v0".workers', 'true is a boolean; expected an integer or "auto"'),
    ("workers = 'all'", 'envs."X-v0".workers', '"all" is a string; expected an integer or "auto"'),
    ("workers = 0", 'envs."X-v0".workers', "0 is not a number of workers; expected 1 or more"),
]


@pytest.mark.parametrize(("keys", "key", "what"), MISTAKES)
def test_a_mistake_names_its_key_and_what_is_right(tmp_path: Path, keys: str, key: str, what: str) -> None:
    interpreters = '[interpreters]\nsim = { python = "3.10" }\nbroken = { pythn = "3" }\nbare = { requires = [] }\n'
    toml = f'{interpreters}[envs."Good-v0"]\npython = "3.10"\n[envs."X-v0"]\n{keys}'
    error = an_error(tmp_path, toml)
    assert said(tmp_path, error) == f"{key}: {what}"
    assert error.__dict__["key"] == key
    # The entry beside it stays usable.
    assert isinstance(envs_file.load(tmp_path / "envs.toml").entries["Good-v0"], Entry)
