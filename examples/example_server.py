"""A server that makes envs for clients on this machine. Start it, then example_client.py in another terminal.

Run it in the environment of the simulators. Ctrl-C stops it.
"""

from gym_service import SocketGymServer

if __name__ == "__main__":
    print("[Example Server] Starting server...", flush=True)
    server = SocketGymServer(host="localhost", port=2333)
    try:
        server.start()
    except KeyboardInterrupt:
        print("[Example Server] Stopped.")
