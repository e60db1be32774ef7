"""The two names of the original project: a server on a TCP port, and the env that is its client.

Knows their arguments and defaults, and the entry that they mean. Never knows sockets or messages. Client only; Python
3.10 and up.

Programs that used the original change only the import::

    SocketGymServer(host="localhost", port=2333).start()                        # in the simulator's environment
    env = SocketGymClient(env_id="CartPole-v1", host="localhost", port=2333)    # in the trainer's environment
"""

import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO, cast

from gym_service_launcher.config import entry as entries
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.listener import listener
from gym_service_launcher.listener.pending import Endpoint, tcp_endpoints
from gym_service_launcher.listener.session import ServerOptions
from gym_service_launcher.net import tcp, tokens
from gym_service_launcher.processes.output_writer import OutputWriter
from gym_service_launcher.standalone import env_vars

from gym_service.client.env import RemoteEnv
from gym_service.factory.open_env import connect
from gym_service.factory.progress import log

HOST, PORT = "127.0.0.1", 65432


class _Log(listener.SessionObserver):
    """Logs lines from a thread of its own: a handler that blocks, such as one with a full pipe, holds up no client."""

    def __init__(self) -> None:
        self._writer = OutputWriter(cast(TextIO, self))

    def say(self, line: str) -> None:
        self._writer.write(f"{line}\n")

    def write(self, text: str) -> None:
        """What the writer's thread calls, with some lines."""
        for line in text.splitlines():
            log(line)

    def flush(self) -> None:
        """What the writer's thread calls after that."""

    def finish(self) -> None:
        self._writer.close()


class SocketGymServer:
    """Serves clients of this machine, each with its own server process."""

    def __init__(self, host: str = HOST, port: int = PORT, *, python: str | os.PathLike[str] | None = None) -> None:
        """Store the arguments. ``start`` listens.

        Args:
            host: a loopback address of this machine, or a name of one.
            port: 0 for a free port; ``start`` prints it.
            python: the interpreter of the simulators (a venv folder, an executable, a version, "conda:NAME"); None for
                the running one.
        """
        self.host, self.port = host, port
        self.python = sys.executable if python is None else os.fspath(python)

    def start(self) -> None:
        """Listen and serve clients. Blocks until Ctrl-C (KeyboardInterrupt) or SIGTERM; then no server process is left.

        SIGTERM stops accepting clients and waits until the last one disconnects. A second SIGTERM stops all servers.

        A client can make any env that is registered in the interpreter, or by an installed package named ``gym_…``. It
        authenticates with the token of this user, which the first server creates, or with that of $GYM_SERVICE_TOKEN.
        It logs what happens, the address first, to the logger "gym_service" at the level INFO: without a logging
        configuration, on stderr.

        Raises:
            ConfigError: ``host`` is not a loopback address.
            InterpreterNotFound: there is no such interpreter.
            ServerStartError: the port is in use, or the interpreter cannot run a server.
            AuthError: the token cannot be used.
        """
        executable = find_interpreter(self.python, Path.cwd())
        servers = ServerOptions(executable, env_vars.environment(executable, {}, ()))

        def endpoints() -> list[Endpoint]:
            return tcp_endpoints(self.host, self.port, tokens.of_server(None, None))

        lines = _Log()
        listener.serve(
            endpoints, servers, lines.say, lambda address: lines.say(f"listening at {address}"), observer=lines
        )


class SocketGymClient(RemoteEnv):
    """An env of a SocketGymServer or of ``gym-service run --tcp``. Its render mode is "rgb_array" by default.

    For ``gymnasium.register``: ``entry_point="gym_service.envs:SocketGymClient"``. A pickled or copied env is a new env
    of the same server.
    """

    # gym.make reads this before there is an env. Then the metadata of the env replaces it.
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
        """Connect to the server and make the env.

        Blocks until the server listens and has made the env, at most 120 seconds.

        Args:
            env_id: the id in the server's interpreter.
            env_type: "pusht" makes the server import ``gym_pusht`` first, which registers the ids of that simulator.
            host: the host of the server.
            port: the port of the server.
            env_kwargs: keyword arguments of the simulator.

        Raises:
            ServerStartError: no server listens there, or it did not make the env in time.
            AuthError: the server has another token.
            EnvError: the simulator raised while the env was made.
            CannotCross: a keyword argument or a space has no form on the wire.
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
