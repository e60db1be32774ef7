"""A simulator behind a server that stays, and two clients of it: what `gym-service run` and an address do.

    python examples/remote.py --python ./sim_env                       # a venv with gym or gymnasium in it; CartPole-v1
    python examples/remote.py --python ./sim_env --tcp                 # over TCP on this machine, with a token

On two machines, start the printed command on the one and give its address to the clients on the other:
docs/remote.md. Prints the return of an episode of each client.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import gym_service


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a simulator, and play it from two clients.")
    parser.add_argument("--python", required=True, help="the simulator's interpreter: a venv or an executable")
    parser.add_argument("--env-id", default="CartPole-v1", help="its id there")
    parser.add_argument("--tcp", action="store_true", help="over TCP instead of a Unix socket")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = ["--tcp", "127.0.0.1:0"] if options.tcp else ["--unix", str(Path(folder, "sim.sock"))]
        command = [sys.executable, "-m", "gym_service", "run", "--python", options.python, *where, options.env_id]
        print("server:", "gym-service", *command[3:])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout
                address = server.stdout.readline().strip()  # printed as soon as clients can connect
                print("address:", "tcp://127.0.0.1:PORT" if options.tcp else "unix:///…/sim.sock")
                play(address, options.env_id)
            finally:
                server.terminate()


def play(address: str, env_id: str) -> None:
    """An episode of each of two clients, in turn. Each has a server process of its own."""
    with gym_service.make(env_id, address=address) as first, gym_service.make(env_id, address=address) as second:
        for name, env in (("first", first), ("second", second)):
            env.reset(seed=1)
            env.action_space.seed(1)
            total, over = 0.0, False
            while not over:
                _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
                total, over = total + float(reward), terminated or truncated
            print(f"{name} client: return {total}")
        print("two processes:", first.target["pid"] != second.target["pid"])


if __name__ == "__main__":
    main()
