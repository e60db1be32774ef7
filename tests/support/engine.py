"""Behaves like ``docker run`` and ``srun`` where neither is installed. Runs by path, without gym-service.

    PYTHON engine.py serve SOCKET HIDDEN     the daemon: runs commands on request, in namespaces where HIDDEN is empty
    docker run [-i] [--rm] [-t] [-e NAME=VALUE] IMAGE WORD…
    srun [-n1] [--unbuffered] [--pty] WORD…

The last two are links to a script that runs this file (``hosts.py`` writes it); $FAKE_ENGINE names the socket. As with
the real programs, the command is a child of the daemon and not of the caller: killing the caller does not kill it. The
caller passes on its standard streams, and SIGTERM; when its input ends, the command's input ends. It prints something
on standard output first.

docker: a separate mount, process and network namespace, a separate environment, Unix sockets as standard streams. srun:
a mount namespace, the environment of its caller, pipes. Python 3.10 and up.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

HIDE = 'for folder in "$HIDDEN"; do mount -t tmpfs none "$folder"; done; unset HIDDEN; exec "$@"'
CONTAINER_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "HOSTNAME": "4711"}


def namespaces(*more):
    """The words before a command that give it its own view of the file system, as root or any other user."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "--propagation", "private", *more, "--", "sh", "-c", HIDE, "sh"]


def serve(path, hidden):
    """The daemon. Runs until its standard input ends."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    print("listening", flush=True)
    threading.Thread(target=accept, args=(listening, hidden), daemon=True).start()
    sys.stdin.read()


def accept(listening, hidden):
    while True:
        control = listening.accept()[0]
        threading.Thread(target=run_one, args=(control, hidden), daemon=True).start()


def run_one(control, hidden):
    """Run one request to its end; then send the exit code to the caller if it still waits."""
    request, fds, _, _ = socket.recv_fds(control, 1 << 20, 3)
    asked = json.loads(request)
    with control:
        process = subprocess.Popen(
            [*namespaces(*asked["namespaces"]), *asked["argv"]],
            stdin=fds[0],
            stdout=fds[1],
            stderr=fds[2],
            env={**asked["env"], "HIDDEN": hidden},
            cwd="/",
        )
        for fd in set(fds):
            os.close(fd)
        threading.Thread(target=pass_signals, args=(control, process), daemon=True).start()
        code = process.wait()
        with contextlib.suppress(OSError):
            control.send(str(code if code >= 0 else 128 - code).encode())


def pass_signals(control, process):
    with contextlib.suppress(OSError):
        while number := control.recv(1):
            process.send_signal(number[0])


def ask(argv, env, more, streams):
    """Make the daemon run a command with these standard streams; pass on what arrives. Returns the exit code."""
    control = socket.socket(socket.AF_UNIX)
    control.connect(os.environ["FAKE_ENGINE"])
    theirs, (to_stdin, from_stdout, from_stderr) = streams
    socket.send_fds(control, [json.dumps({"argv": argv, "env": env, "namespaces": more}).encode()], theirs)
    for fd in set(theirs):
        os.close(fd)
    signal.signal(signal.SIGTERM, lambda number, frame: control.send(bytes([number])))
    readers = [threading.Thread(target=pump, args=(pair)) for pair in ((from_stdout, 1), (from_stderr, 2))]
    for reader in readers:
        reader.start()
    threading.Thread(target=pump, args=(0, to_stdin, True), daemon=True).start()
    code = int(control.recv(16) or b"125")
    for reader in readers:
        reader.join()
    return code


def pump(source, sink, closes=False):
    """Copy everything from one descriptor to another; then let its reader see the end."""
    with contextlib.suppress(OSError):
        while data := os.read(source, 65536):
            view = memoryview(data)
            while view:
                view = view[os.write(sink, view) :]
    if closes:
        try:
            with socket.socket(fileno=os.dup(sink)) as sock:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            os.close(sink)


def over_sockets():
    one, other = socket.socketpair(), socket.socketpair()
    ours, theirs = one[0].detach(), one[1].detach()
    return [theirs, theirs, other[1].detach()], (ours, ours, other[0].detach())


def over_pipes():
    stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
    return [stdin[0], stdout[1], stderr[1]], (stdin[1], stdout[0], stderr[0])


def docker(words):
    parser = argparse.ArgumentParser(prog="docker", allow_abbrev=False)
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("-i", action="store_true")
    parser.add_argument("-t", action="store_true")
    parser.add_argument("--rm", action="store_true")
    parser.add_argument("-e", action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    if asked.t and not os.isatty(0):
        sys.exit("the input device is not a TTY")
    if asked.image != "sim:1":
        print(f"Unable to find image '{asked.image}' locally", file=sys.stderr)
        print(f"docker: Error response from daemon: pull access denied for {asked.image}", file=sys.stderr)
        return 125
    print("A container of sim:1\nsays hello, \x00 and ends no line", end="", flush=True)
    if not asked.i:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    env = {**CONTAINER_ENVIRONMENT, **dict(variable.split("=", 1) for variable in asked.e)}
    return ask(asked.words, env, ["--pid", "--fork", "--mount-proc", "--net"], over_sockets())


def srun(words):
    parser = argparse.ArgumentParser(prog="srun", allow_abbrev=False)
    parser.add_argument("-n", type=int, default=1)
    parser.add_argument("--unbuffered", action="store_true")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    print("srun: job 7 queued and waiting for resources", file=sys.stderr)
    print("module load sim: done", flush=True)
    return ask(asked.words, dict(os.environ), [], over_pipes())


if __name__ == "__main__":
    face, *rest = sys.argv[1:]
    if face == "serve":
        serve(*rest)
    else:
        os._exit({"docker": docker, "srun": srun}[face](rest) or 0)
