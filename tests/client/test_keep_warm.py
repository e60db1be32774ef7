"""Fork servers that outlive their program: the next one does not import, and who else shares one."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from support import polling, procfs
from support.keep_warm import (
    LONG_S,
    OLD,
    ONCE,
    OPEN,
    PLAY,
    TARGET,
    UNTIL_TOLD,
    importers,
    keys,
    opening,
    sockets,
    stop,
    warm,
)
from support.paths import ENVS
from support.programs import Programs

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# Each program takes a second, so most tests are run by hand.
LONG = pytest.mark.long


@pytest.mark.parametrize("target", [pytest.param("py36-gym021", marks=LONG), OLD, pytest.param(TARGET, marks=LONG)])
def test_the_next_program_imports_nothing(group: Programs, target: str) -> None:
    pids = [group.run(opening(target=target) + ONCE) for _ in range(3)]
    assert [len(lines) for lines in pids] == [1, 1, 1], pids
    assert len({pid for (pid,) in pids}) == 3
    (importer,) = importers(group)
    (shown,) = warm(group)
    assert (shown["pid"], shown["state"], shown["client_pid"]) == (importer, "warm", None)
    # Its output is kept, and reached the program that ordered it.
    assert group.command("logs", "warm:Counted") == "imported\n"
    stop(group)
    assert not procfs.state(importer)


@LONG
def test_a_forked_server_is_like_one_that_was_started(group: Programs) -> None:
    text = """
    import json
    state = env.call("state")
    del state["pid"]
    state["environ"] = sorted(state["environ"].items())
    say(json.dumps(state, default=repr))
    """.replace("\n    ", "\n")
    prefork = keys()
    del prefork["keep_warm_s"]
    expected = json.loads(group.run(OPEN.format(keys=prefork) + PLAY + text + "env.close()")[1])
    for _ in range(2):
        assert json.loads(group.run(opening() + PLAY + text + "env.close()")[1]) == expected
    assert len(importers(group)) == 2
    stop(group)


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
@LONG
def test_the_workers_of_a_vector_env_are_forked_from_it_too(group: Programs) -> None:
    vector = """
    vec = gym_service.make_vec("Counted", 4, workers=4, **keys)
    vec.reset(seed=0)
    say(len({state["pid"] for state in vec.call("state")}))
    vec.close()
    """.replace("\n    ", "\n")
    group.run(opening() + ONCE)
    assert group.run(opening() + vector) == ["4"]
    assert len(importers(group)) == 1
    stop(group)


@LONG
def test_servers_of_a_listener_are_forked_from_it_too(group: Programs, tmp_path: Path) -> None:
    given = {"entry_point": None, "id": "Counted-v0", "imports": ["counted_ids"]}
    group.run(opening(**given) + ONCE)
    words = ["run", "--python", str(keys()["python"]), "--pythonpath", str(ENVS), "--unix", str(tmp_path / "s")]
    argv = [sys.executable, "-m", "gym_service", *words, "--keep-warm", str(LONG_S), "counted_ids:Counted-v0"]
    client = OPEN.format(keys={"address": f"unix://{tmp_path / 's'}", "id": "Counted-v0"}) + ONCE
    with subprocess.Popen(argv, env=group.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout
            assert run.stdout.readline() == f"unix://{tmp_path / 's'}\n"
            servers = [group.run(client) for _ in range(2)]
            assert len(importers(group)) == 1
            # After a change one server imports for itself, while the next fork server does.
            group.command("stop", "--warm")
            servers += [group.run(client)]
            polling.until(lambda: len(importers(group)) == 3, "the imports of both")
            polling.until(lambda: [one["state"] for one in warm(group)] == ["warm"], "the next fork server")
            servers += [group.run(client)]
            assert len(importers(group)) == 3
            assert len({pid for (pid,) in servers}) == 4
        finally:
            run.send_signal(signal.SIGINT)
            run.communicate()
    stop(group)


@LONG
def test_a_restart_is_forked_from_it(group: Programs) -> None:
    restart = """
    import signal
    env = with_env()
    for _ in range(2):
        os.kill(env.target["pid"], signal.SIGKILL)
        try:
            env.step(0)
        except gym_service.errors.ServerCrashed as error:
            say(error.exit_code, "fork server" in str(error))
        env.reset()
    env.close()
    """.replace("\n    ", "\n")
    assert group.run(opening(restart="on-reset") + restart) == ["-9 False"] * 2
    assert len(importers(group)) == 1
    stop(group)


def test_programs_that_start_at_once_share_one(group: Programs) -> None:
    started = [group.start(opening() + UNTIL_TOLD) for _ in range(4)]
    servers = [program.says() for program in started]
    assert len(set(servers)) == 4
    assert len(importers(group)) == 1
    for program in started:
        program.hears()
    for program in started:
        assert (program.end(), program.lines(), program.errors()) == (0, ["0.0"], "")
    assert len(sockets(group)) == 1
    stop(group)


# -- who shares ------------------------------------------------------------------------------------------------------


def test_variables_of_a_terminal_are_each_programs_own(group: Programs) -> None:
    show = 'say(*(env.call("state")["environ"].get(name) for name in ("TERM", "SSH_TTY", "OLDPWD")))\n'
    text = opening() + PLAY + show + "env.close()"
    first = group.run(text, TERM="one", SSH_TTY="/dev/pts/1", OLDPWD="/")
    second = group.run(text, TERM="two", WINDOWID="7", SHLVL="3", XDG_SESSION_ID="5")
    assert [first[1], second[1]] == ["one /dev/pts/1 /", f"two {os.environ.get('SSH_TTY')} {os.environ.get('OLDPWD')}"]
    assert len(importers(group)) == 1
    stop(group)


@LONG
def test_what_else_a_program_starts_with_decides_who_shares(group: Programs, tmp_path: Path) -> None:
    def lower_limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))

    show = """
    state = env.call("state")
    say(state["cwd"], state["environ"].get("OTHER"))
    with open("/proc/%d/limits" % env.target["pid"]) as file:
        say(next(line.split()[3] for line in file if line.startswith("Max open files")))
    with open("/proc/%d/status" % env.target["pid"]) as file:
        say(next(line.split()[1] for line in file if line.startswith("Umask")))
    env.close()
    """.replace("\n    ", "\n")
    text = opening() + PLAY + show
    here = group.run(text)[1:]
    cases: list[tuple[int, Any, dict[str, str], str]] = [
        (1, lambda: os.chdir(tmp_path), {}, str(tmp_path)),
        (1, None, {"OTHER": "yes"}, "yes"),
        (2, lower_limit, {}, "1000"),
        (3, lambda: os.umask(0o027), {}, "0027"),
    ]
    for count, (line, prepare, variables, expected) in enumerate(cases, 2):
        found = group.run(text, prepare, **variables)
        assert expected in found[line]
        assert found[1:] != here
        assert len(importers(group)) == count
    assert len(sockets(group)) == len(warm(group)) == 5
    stop(group)


@LONG
def test_a_folder_that_was_made_again_is_another_one(group: Programs, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for count in (1, 2):
        folder.mkdir()
        text = opening() + PLAY + 'say(env.call("state")["cwd"])\nenv.close()'
        assert group.run(text, lambda: os.chdir(folder))[1] == str(folder)
        assert len(importers(group)) == count
        shutil.move(folder, tmp_path / "moved")
    stop(group)
