"""Clients that fork, pickle and spawn: an env belongs to the process that made it, and nothing else can disturb it."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from support import polling, serving
from support.clients import assert_nothing_outlives, client
from support.faulty import TRANSPORTS, alternately
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

TIMEOUT_S = 60.0

FORK = """
import gc, pickle
context = faulty(transport=os.environ["FAULTS_CASE"])
env = context.__enter__()
env.reset()
act(env, "step", 1)
read, write = os.pipe()
child = os.fork()
if child == 0:
    refused = 0
    for use in (lambda: act(env, "step"), env.reset, env.render, lambda: env.number, lambda: env.call("echo", 1)):
        try:
            use()
        except errors.ForkedError:
            refused += 1
    env.close()
    say("refused", refused)
    end = os.environ["FAULTS_END"]
    if end == "sys.exit":
        sys.exit(5)
    if end == "garbage":
        del env, context
        gc.collect()
    if end == "own env":
        with faulty() as own:
            own.reset()
            say("own", act(own, "step", 3)[1])
    if end == "pickled":
        own = pickle.loads(pickle.dumps(env))
        own.reset()
        say("own", act(own, "step", 3)[1])
        own.close()
    os._exit(5)
for number in range(2, 502):
    assert act(env, "step", number)[0]["answers"].tolist() == [number, number, -7 * number]
assert os.waitpid(child, 0)[1] == 5 << 8
for number in range(502, 1002):
    assert act(env, "step", number)[0]["answers"].tolist() == [number, number, -7 * number]
say("exact", env.target["pid"])
env.close()
say("closed")
"""


@pytest.mark.parametrize(("end", "transport"), alternately(["sys.exit", "os._exit", "garbage", "own env", "pickled"]))
def test_a_forked_child(end: str, transport: str) -> None:
    # Python 3.12 warns about a fork in a process with threads, and a thread of the client reads each server's output.
    quiet = {"PYTHONWARNINGS": "ignore::DeprecationWarning", "PYTHONDEVMODE": "1"}
    with client(FORK, {"FAULTS_CASE": transport, "FAULTS_END": end, **quiet}) as running:
        said = [running.says() for _ in range(4 if end in ("own env", "pickled") else 3)]
        assert said[0] == "refused 5"
        assert "own 3.0" in said or len(said) == 3
        server = int(next(line for line in said if line.startswith("exact")).split()[1])
        assert said[-1] == "closed" or running.says() == "closed"
        polling.until_dead([server], 1.0)
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


# The child waits until the parent has made more steps, and then looks again at what it got.
IMAGES = """
import os, sys
python, envs = sys.argv[1:]
def made():
    import gym_service
    given = {"entry_point": "forking_images:ForkingImagesEnv", "kwargs": {"by": "os"}, "pythonpath": [envs]}
    env = gym_service.make("Images", python=python, **given)
    env.reset()
    for action in range(12):
        env.step(action)
    return env
def look(observation, waits):
    before = observation.copy()
    os.read(waits, 1)
    os._exit(int(not (observation == before).all()))
waits, go = os.pipe()
"""

FORK_BETWEEN_HOOKS = (
    IMAGES
    + """
held, env = [], None
def step_before_the_fork():
    if env is not None:
        held.append(env.step(100)[0])
# Registered before gym_service is imported, so it runs after the hook of that: as a thread that steps meanwhile.
os.register_at_fork(before=step_before_the_fork)
env = made()
for number in range(10):
    child = os.fork()
    if child == 0:
        look(held[0], waits)
    held.clear()
    for action in range(120, 150):
        assert (env.step(action)[0] == action).all()
    os.write(go, b"x")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
env.close()
"""
)

FORK_IN_A_CALL = (
    IMAGES
    + """
from gym_service.errors import ForkedError
from gym_service.transport.slots import Slot
lend_to, forked = Slot.lend_to, []
def forking(*arguments):  # as the handler of a signal that comes now, and forks
    Slot.lend_to = lend_to
    forked.append(os.fork())
    return lend_to(*arguments)
env = made()
for act in (lambda: env.step(50), lambda: env.step(50, further=1)):
    Slot.lend_to = forking
    try:
        observation = act()[0]
    except ForkedError:
        os._exit(7)
    if forked[-1] == 0:
        os._exit(8)
    print(os.waitstatus_to_exitcode(os.waitpid(forked[-1], 0)[1]))
    del observation
    for action in range(100):
        assert (env.step(action)[0] == action).all()
env.close()
"""
)


@pytest.mark.parametrize(("program", "codes"), [(FORK_BETWEEN_HOOKS, ["0"] * 10), (FORK_IN_A_CALL, ["7"] * 2)])
def test_no_array_that_a_child_can_reach_ever_changes(program: str, codes: list[str]) -> None:
    argv = [sys.executable, "-W", "ignore", "-c", program, str(TARGETS[TARGET].python()), str(ENVS)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (ran.stdout.split(), ran.stderr, ran.returncode) == (codes, "", 0)


# A signal handler forks while the call waits for the server. Its child comes back to the call.
FORK_WHILE_A_CALL_WAITS = """
import numpy as np
import gym_service
from gym_service_launcher.processes import pidfiles
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS
keys = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "imports": ["paced"]}
keys |= {"transport": os.environ["FAULTS_CASE"], "restart": "on-reset"}
act = os.environ["FAULTS_ACT"]
waited = np.array([3000, 3000])
if act == "step":
    env = gym_service.make("Paced-v0", **keys)
    step = lambda: env.step(3000)[1]
else:
    del keys["restart"]
    env = gym_service.make_vec("Paced-v0", 2, workers=2, **keys)
    step = (lambda: env.step(waited)[1][1]) if act == "batch" else (lambda: [env.send(waited), env.recv(2)][1][1][1])
env.reset()
before = [server.pid for server in pidfiles.list_servers()]
children = []
def fork(number, frame):
    children.append(os.fork())
signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    reward = step()
except errors.ForkedError:
    assert children == [0]
    try:
        env.reset()
    except errors.ForkedError:
        os._exit(7)
    os._exit(9)
code = os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])
say(reward, code, [server.pid for server in pidfiles.list_servers()] == before)
env.close()
"""


@pytest.mark.parametrize(("act", "transport"), alternately(["step", "batch", "recv"]))
def test_a_child_that_comes_back_to_a_call_disturbs_nothing(act: str, transport: str) -> None:
    quiet = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}
    with client(FORK_WHILE_A_CALL_WAITS, {"FAULTS_CASE": transport, "FAULTS_ACT": act, **quiet}) as running:
        assert running.says() == "3000.0 7 True"
        assert running.end() == 0
        assert running.errors() == ""


# At each so many lines of make a signal handler would fork, and the child come back to it.
FORK_WHILE_AN_ENV_IS_MADE = """
import traceback
from support.interrupts import OURS as PACKAGES
from support.opened import TARGET
from support.targets import TARGETS
import gym_service
from gym_service_launcher.processes import guardian_client, pidfiles
def is_in_thread_start(frame):
    # A finalizer may run there. A child of CPython waits for ever then, for a thread that it does not have.
    while frame and frame.f_code is not threading.Thread.start.__code__:
        frame = frame.f_back
    return frame is not None
class ForkAt:
    def __init__(self, left):
        self.left, self.child = left, -1
    def trace(self, frame, event, arg):
        return self.line if (frame.f_globals.get("__name__") or "").startswith(OURS) else None
    def line(self, frame, event, arg):
        self.left -= event == "line" and not is_in_thread_start(frame)
        if self.left < 0 and self.child < 0:
            self.child = os.fork()
        return self.line
endings = []
lines, case = int(os.environ["FAULTS_LINES"]), os.environ["FAULTS_CASE"].split()
OURS = ("gym_service_launcher.processes.guardian_process",) if "guardian" in case else PACKAGES
given = {"timeouts": {"start": 30}}
if "address" in case:
    given["address"] = os.environ["FAULTS_ADDRESS"]
else:
    given |= {"python": str(TARGETS[TARGET].python())}
    given |= {"command": ["env"]} if "command" in case else {"transport": case[0], "prefork": "prefork" in case}
def walked(env):
    return [env.reset(seed=1)[0].tolist(), *(env.step(step % 2)[0].tolist() for step in range(5))]
with gym_service.make("CartPole-v1", **given) as env:
    expected = walked(env)
for number in range(lines, 100_000, lines):
    if "first" in case:  # each make is the first one, which starts the guardian
        guardian_client._drop_guardian()
    fork = ForkAt(number)
    sys.settrace(fork.trace)
    ending = 8
    try:
        env = gym_service.make("CartPole-v1", **given)
        env.reset()
    except errors.ForkedError:
        ending = 7
    except BaseException:
        if fork.child != 0:
            raise
        traceback.print_exc()
    finally:
        sys.settrace(None)
        if fork.child == 0:
            os._exit(ending)
    assert ending == 8
    assert walked(env) == expected
    if "transport" in given:
        clients = {server.pid: server.client_pid for server in pidfiles.list_servers()}
        assert clients[env.target["pid"]] == os.getpid()
    env.close()
    if fork.child < 0:
        break
    endings.append(os.waitstatus_to_exitcode(os.waitpid(fork.child, 0)[1]))
assert endings.count(7) > 0 and set(endings) <= {7, 8}, endings
say("fine")
"""


@pytest.mark.parametrize(
    ("case", "lines"),
    [
        pytest.param(case, lines, marks=[pytest.mark.long] if lines < 100 and "guardian" not in case else [])
        for case in ("unix", "stdio", "unix prefork", "stdio prefork", "unix first", "address", "command")
        for lines in (397, 31)
    ]
    + [("unix first guardian", 5), pytest.param("unix first guardian", 1, marks=pytest.mark.long)],
)
def test_a_child_that_comes_back_to_make_disturbs_nothing(case: str, lines: int, tmp_path: Path) -> None:
    """The child gets a ForkedError (7), or an env of its own where it was forked early (8). The parent goes on."""
    environ = {"FAULTS_CASE": case, "FAULTS_LINES": str(lines), "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    with contextlib.ExitStack() as until_the_end:
        if case == "address":
            listener = serving.running(TARGETS[TARGET].python(), unix=tmp_path / "env.sock")
            environ["FAULTS_ADDRESS"] = until_the_end.enter_context(listener).address
        running = until_the_end.enter_context(client(FORK_WHILE_AN_ENV_IS_MADE, environ))
        assert running.says(within_s=300) == "fine"
        assert running.end() == 0
        assert running.errors() == ""


FORK_AFTER_A_CRASH = """
with faulty(restart="on-reset") as env:
    env.reset()
    os.kill(env.target["pid"], signal.SIGKILL)
    try:
        act(env, "step")
    except errors.ServerCrashed:
        pass
    child = os.fork()
    if child == 0:
        try:
            env.reset()
        except errors.ForkedError:
            os._exit(7)
        os._exit(8)
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    env.reset()
    say(act(env, "step", 3)[1])
"""


def test_a_child_does_not_restart_the_server_of_its_parent() -> None:
    with client(FORK_AFTER_A_CRASH, {"PYTHONWARNINGS": "ignore::DeprecationWarning"}) as running:
        assert [running.says(), running.says()] == ["7", "3.0"]
        assert running.end() == 0
        assert running.errors() == ""


SPAWN = """
import pickle
if __name__ == "__main__":
    with faulty(transport=os.environ["FAULTS_CASE"]) as env:
        env.reset()
        copy = pickle.loads(pickle.dumps(env))
        assert copy.target["pid"] != env.target["pid"]
        copy.reset()
        for number in range(1, 50):
            assert act(env, "step", number)[1] == act(copy, "step", number)[1] == number
        copy.close()
        from support.spawned import in_spawned
        rewards, pid = in_spawned(env)
        assert rewards == [float(number) for number in range(1, 50)]
        assert pid != env.target["pid"]
        act(env, "step")
    say("fine")
"""


@pytest.mark.parametrize("transport", ["stdio", pytest.param("unix", marks=pytest.mark.long)])
def test_a_pickled_and_a_spawned_env_have_servers_of_their_own(transport: str) -> None:
    with client(SPAWN, {"FAULTS_CASE": transport}) as running:
        assert running.says() == "fine"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


THREADS = """
with faulty(transport=os.environ["FAULTS_CASE"]) as env:
    env.reset()
    wrong = []
    def step(first):
        for number in range(first, first + 125):
            observation, reward, *_ = act(env, "step", number)
            if observation["answers"].tolist()[1:] != [number, -7 * number] or reward != number:
                wrong.append(number)
    threads = [threading.Thread(target=step, args=(1000 * index,)) for index in range(1, 5)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    say(len(wrong), act(env, "step")[4]["number"])
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_threads_take_turns(transport: str) -> None:
    with client(THREADS, {"FAULTS_CASE": transport}) as running:
        assert running.says() == "0 501"
        assert running.end() == 0
