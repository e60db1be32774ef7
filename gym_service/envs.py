"""The original project's two names: a server that stays at a port, and the env that is its client.

Knows their arguments and defaults, and what they mean as an entry. Never knows sockets or messages. Client only;
Python 3.10 and up.

Whoever used the original changes nothing but where its names come from::

    SocketGymServer(host="localhost", port=2333).start()                            # in the simulator's environment
    env = SocketGymClient(env_id="CartPole-v1", host="localhost", port=2333)        # in the trainer's
"""

import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from gym_service_launcher.config import entry as entries
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.listener import listener
from gym_service_launcher.listener.pending import Endpoint, tcp_endpoints
from gym_service_launcher.listener.session import ServerOptions
from gym_service_launcher.net import tcp, tokens
from gym_service_launcher.servers import local
from gym_service_launcher.standalone import env_vars

from gym_service.client.env import RemoteEnv
from gym_service.factory.open_env import connect

HOST, PORT = "127.0.0.1", 65432


class SocketGymServer:
    """Makes envs for clients on this machine, each in a server process of its own."""

    def __init__(self, host: str = HOST, port: int = PORT, *, python: str | os.PathLike[str] | None = None) -> None:
        """Take note; ``start`` does the work.

        Args:
            host: a name or an address of this machine's loopback.
            port: 0 for one that is free; ``start`` says which.
            python: the simulators' interpreter (a venv folder, an executable, a version, "conda:NAME"); None for
                the one that runs this.
        """
        self.host, self.port = host, port
        self.python = sys.executable if python is None else os.fspath(python)

    def start(self) -> None:
        """Listen and serve. Blocks until Ctrl-C (KeyboardInterrupt) or SIGTERM; then no server process is left.

        After SIGTERM nobody is let in any more, and the last client is waited for; a second one ends it at once.

        A client may have any env made that is registered in the interpreter, or by an installed package called
        ``gym_…``. It proves that it knows the token of this user, which is made by the first server that starts,
        or that of $GYM_SERVICE_TOKEN.
        What goes on is printed to stderr, the address first.

        Raises:
            ConfigError: ``host`` is not loopback, or there is no such interpreter.
            ServerStartError: the port is taken, or the interpreter cannot run a server.
            AuthError: the token file cannot be used.
        """
        executable = find_interpreter(self.python, Path.cwd())
        servers = ServerOptions(executable, env_vars.environment(executable, {}, ()))
        say = local.to_stderr

        def endpoints() -> list[Endpoint]:
            return tcp_endpoints(self.host, self.port, tokens.of_server(None, None))

        listener.serve(endpoints, servers, say, lambda address: say(f"listening at {address}"))


class SocketGymClient(RemoteEnv):
    """An env that a SocketGymServer, or ``gym-service run --tcp``, makes. It renders "rgb_array" unless told otherwise.

    For ``gymnasium.register``: ``entry_point="gym_service.envs:SocketGymClient"``. Pickled or copied, it is another
    env of the same server.
    """

    # Looked at by gym.make before there is an env; the env's own metadata takes its place.
    metadata: dict[str, Any] = {  # noqa: RUF012 -- declared so by gymnasium.Env
        "render_modes": ["human", "rgb_array", "ansi", "depth_array", "rgb_array_list", "ansi_list", "depth_array_list"]
    }

    def __init__(
        self,
        env_id: str = "CartPole-v1",
        env_type: str | None = None,
        host: str = HOST,
        port: int = PORT,
        **env_kwargs: Any,
    ) -> None:
        """Connect and have the env made.

        Blocks until the server listens and has made the env, at most 120 seconds.

        Args:
            env_id: the id in the server's interpreter.
            env_type: "pusht" has the server import ``gym_pusht`` first, which registers the ids of that simulator.
            host: of the server.
            port: of the server.
            env_kwargs: for the simulator.

        Raises:
            ServerStartError: nobody listens there.
            AuthError: what listens there holds another token.
            EnvError: the simulator raised while it was made.
        """
        imports = [f"gym_{env_type}"] if env_type else []
        entry = entries.entry(env_id, {"address": tcp.address(host, port), "imports": imports})
        connection, description = connect(entry, {"render_mode": "rgb_array", **env_kwargs})
        again = partial(type(self), env_id, env_type, host, port, **env_kwargs)
        try:
            super().__init__(connection, description, timeouts=asdict(entry.timeouts), recreate=again)
        except BaseException:
            connection.close(entry.timeouts.close)
            raise
