"""Processes that the simulator starts: none is left a second after its server ends, and none disturbs the server."""

import os
import re
import signal
from contextlib import closing

import numpy as np
import pytest
from support import polling, procfs
from support.clients import GONE_S, client
from support.faulty import METHODS, TRANSPORTS, act, alternately, armed, assert_exact, faulty, refused_at_start
from support.opened import TARGET, opened
from support.paths import ENVS
from support.targets import TARGETS

import gym_service
from gym_service import errors
from gym_service.server.loop import EXIT_FORKED

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("end", "transport"), alternately(["close", "crash", "crash in a call", "timeout"]))
def test_children_end_with_their_server(end: str, transport: str) -> None:
    with faulty(transport=transport, timeouts={"step": 0.4}) as env:
        env.reset()
        processes = [env.target["pid"], *env.call("start_children")]
        processes += env.call("start_children")
        assert all(procfs.state(pid) for pid in processes)
        assert_exact(env, 20)
        if end == "close":
            env.close()
        elif end == "crash":
            os.kill(env.target["pid"], signal.SIGKILL)
        else:
            env.call("arm", "step", "SIGSEGV" if end == "crash in a call" else "asleep in C")
            with pytest.raises((errors.ServerCrashed, errors.CallTimeout)):
                act(env, "step")
        polling.until_dead(processes, GONE_S)


@pytest.mark.parametrize(("end", "transport"), alternately(["os._exit", "asleep", "ValueError"]))
def test_children_of_an_env_that_was_never_made(end: str, transport: str) -> None:
    what = f"children, then {end}"
    if end == "asleep":
        text = str(refused_at_start("children ", transport, what, 1.5))
    else:
        expected = errors.EnvValueError if end == "ValueError" else errors.ServerStartError
        with pytest.raises(expected) as caught, faulty(on="make", what=what, transport=transport):
            pass
        text = str(caught.value)
    found = re.search(r"children (\d+) (\d+) (\d+)", text)
    assert found
    polling.until_dead(map(int, found.groups()), GONE_S)


def test_children_of_one_server_outlive_the_crash_of_another() -> None:
    with faulty() as env, faulty() as other:
        processes = env.call("start_children")
        doomed = other.call("start_children")
        os.kill(other.target["pid"], signal.SIGKILL)
        polling.until_dead(doomed, GONE_S)
        assert all(procfs.state(pid) for pid in processes)
        assert_exact(env, 20)


STARTS_CHILDREN = """
context = faulty()
env = context.__enter__()
say(env.target["pid"], *env.call("start_children"))
hear()
if os.environ["FAULTS_CASE"] == "exit":
    sys.exit(0)
os._exit(1)
"""


@pytest.mark.parametrize("end", ["exit", "os._exit"])
def test_children_end_with_a_client_that_forgets_to_close(end: str) -> None:
    with client(STARTS_CHILDREN, {"FAULTS_CASE": end}) as running:
        processes = list(map(int, running.says().split()))
        running.hears()
        assert running.end() == (0 if end == "exit" else 1)
        polling.until_dead(processes, GONE_S)
        assert running.errors() == ""


@pytest.mark.parametrize(("method", "transport"), alternately(METHODS))
def test_a_simulator_that_forks_and_comes_back_twice(method: str, transport: str) -> None:
    """The call returns in the child as well. Only one of the two processes may answer it and the next calls."""
    with armed(method, "fork", transport=transport) as env:
        act(env, method)
        assert_exact(env, 100)


FORKS = [("os", "py36-gym021"), ("os", TARGET), ("C", TARGET)]


@pytest.mark.parametrize(("by", "target"), FORKS)
def test_a_child_that_comes_back_does_not_write_into_what_the_user_holds(by: str, target: str) -> None:
    given = {"entry_point": "forking_images:ForkingImagesEnv", "kwargs": {"by": by}}
    with opened("Forking", target=target, **given) as env:
        env.reset()
        for action in range(20):
            env.step(action)
        kept = env.step(20)[0]
        assert env.call("let_child_return") == EXIT_FORKED
        assert (kept == 20).all()
        assert (env.step(21)[0] == 21).all()


@pytest.mark.parametrize(("by", "target"), FORKS)
def test_nor_does_the_child_of_a_batch(by: str, target: str) -> None:
    given = {"entry_point": "forking_images:ForkingImagesEnv", "kwargs": {"by": by}, "pythonpath": [str(ENVS)]}
    envs = gym_service.make_vec("Forking", 2, workers=1, python=str(TARGETS[target].python()), **given)
    with closing(envs):
        envs.reset()
        for action in range(20):
            envs.step(np.array([action, action]))
        kept = envs.step(np.array([20, 21]))[0]
        assert envs.call("let_child_return") == (EXIT_FORKED, None)
        assert (kept[0] == 20).all()
        assert (kept[1] == 21).all()
        assert (envs.step(np.array([3, 3]))[0] == 3).all()


@pytest.mark.parametrize(("by", "target"), FORKS)
def test_nor_does_the_child_of_an_env_whose_result_is_sent_before_the_others(by: str, target: str) -> None:
    given = {"entry_point": "forking_images:ForkingImagesEnv", "kwargs": {"by": by}, "pythonpath": [str(ENVS)]}
    envs = gym_service.make_vec("Forking", 2, workers=1, python=str(TARGETS[target].python()), **given)
    with closing(envs):
        envs.reset()
        envs.send(np.array([20, 21]))  # of the first call each result is sent alone
        kept = envs.recv(2)[0]
        envs.send(np.array([3, 3]))
        assert (envs.recv(2)[0] == 3).all()
        assert envs.call("let_child_return") == (EXIT_FORKED, None)
        for action in range(5):
            envs.send(np.array([action, action]))
            assert (envs.recv(2)[0] == action).all()
        assert (kept[0] == 20).all()
        assert (kept[1] == 21).all()


def test_a_crash_is_met_though_a_fork_of_the_simulator_holds_all_that_it_held() -> None:
    program = """
from gym_service_launcher.processes import guardian_client
guardian_client.ensure(portable=True)  # which cannot kill what has left its group
with faulty(transport=os.environ["FAULTS_CASE"]) as env:
    say(*env.call("start_children"))
    env.call("arm", "step", "SIGKILL")
    clock = Clock()
    try:
        act(env, "step")
    except errors.ServerCrashed as error:
        say(error.exit_code, clock.took_s)
"""
    for transport in TRANSPORTS:
        with client(program, {"FAULTS_CASE": transport}) as running:
            running.says()
            exit_code, took_s = running.says().split()
            assert int(exit_code) == -9
            assert float(took_s) <= 0.5 + 0.5  # the wait for output, since another process holds the dead one's pipe
