"""Programs in which SIGPIPE has its default action, as in many that print to a pipe: a dead server is an error."""

import pytest
from support.clients import assert_nothing_outlives, client
from support.faulty import TRANSPORTS

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

KILLED = """
from support import polling
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
for act_after in ("step", "reset", "render"):
    with faulty(transport=os.environ["FAULTS_CASE"]) as env:
        env.reset()
        assert act(env, "step", 1)[1] == 1
        os.kill(env.target["pid"], signal.SIGKILL)
        polling.until(lambda: not procfs.state(env.target["pid"]), "the end of the server")
        try:
            act(env, act_after)
        except errors.ServerCrashed as error:
            say(type(error).__name__)
say(signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL, signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""

NO_START = """
import gym_service
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
try:
    gym_service.make("CartPole-v1", command=["/bin/false"])
except errors.GymServiceError as error:
    say(type(error).__name__)
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_was_killed_is_an_error(transport: str) -> None:
    with client(KILLED, {"FAULTS_CASE": transport}) as running:
        for _ in range(3):
            assert running.says() == "ServerCrashed"
        assert running.says() == "True set()"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


def test_a_command_that_ends_at_once_is_an_error() -> None:
    with client(NO_START) as running:
        assert running.says() == "ServerStartError"
        assert running.end() == 0
        assert_nothing_outlives(running, [])
