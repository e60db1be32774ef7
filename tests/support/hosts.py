"""Other hosts, on this machine: a real sshd, and engines for containers and jobs. None of them sees this repository.

Knows sshd, ssh, namespaces. Never knows gym_service. Python 3.10 and up.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import engine, procfs
from support.paths import ENVS, REPOSITORY

TIMEOUT_S = 20.0
# The commands for a user's keys: a login shell, as sshd would start it; and a host that prints something first.
SHELLS = {"sh": "sh -c", "bash": "bash -c", "dash": "dash -c", "csh": "tcsh -c", "fish": "fish -c"}
NOISE = r"Welcome to the cluster.\n>>> 3 jobs\033[0m"


def missing(what: str) -> None:
    """Skip the test and name what it needs. In CI, which installs it, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


def which(program: str) -> Path:
    """The path of a program that CI installs; only root has sshd's folder on PATH."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        missing(program)
    return Path(str(found))


def need_shell(name: str) -> None:
    which(SHELLS[name].split()[0])


def need_namespaces() -> None:
    words = [*engine.namespaces("--pid", "--fork", "--mount-proc", "--net"), "true"]
    environ = {**os.environ, "HIDDEN": str(REPOSITORY)}
    if shutil.which("unshare") is None or subprocess.run(words, env=environ, capture_output=True).returncode:
        missing("unshare (util-linux) with mount, process and network namespaces")


@dataclass(frozen=True)
class SshHost:
    """A running sshd of this user, and how to reach it."""

    folder: Path
    port: int
    user: str

    def command(self, shell: str = "sh", *options: str) -> list[str]:
        """The words of ``command =`` that lead there, into the shell of one of the keys."""
        config = ["-F", str(self.folder / "config"), "-i", str(self.folder / shell)]
        return ["ssh", *config, *options, "-p", str(self.port), f"{self.user}@127.0.0.1"]

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def sshd(folder: Path, sim_env: Path | None = None) -> Iterator[SshHost]:
    """A real sshd on loopback, with its own host and user keys, in a mount namespace without this repository.

    Args:
        folder: for its files.
        sim_env: a venv that this host has as /opt/sim_env; nothing else is in /opt then.
    """
    need_namespaces()
    program = which("sshd")
    which("ssh")
    for name in ("host", "unknown", *SHELLS):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    host = SshHost(folder, free_port(), subprocess.check_output(["id", "-un"], text=True).strip())
    _configure(host)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd, as root, wants it, and a boot would make it
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*engine.namespaces(), *_with_sim_env(sim_env), program, "-D", "-e", "-f", folder / "sshd_config"],
            stdin=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "HIDDEN": str(REPOSITORY)},
        )
    try:
        _wait_for(host, process)
        yield host
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def _with_sim_env(sim_env: Path | None) -> list[str]:
    """The words before a command, in a mount namespace, that give it this venv as /opt/sim_env."""
    if sim_env is None:
        return []
    return ["sh", "-c", 'mount -t tmpfs none /opt && ln -s "$0" /opt/sim_env && exec "$@"', str(sim_env)]


def _configure(host: SshHost) -> None:
    folder = host.folder
    keys = []
    for name, shell in SHELLS.items():
        key = (folder / f"{name}.pub").read_text()
        noise = f"printf '{NOISE}'; " if name != "sh" else ""
        run = f'{noise}exec {shell} "$SSH_ORIGINAL_COMMAND"'.replace('"', '\\"')
        keys.append(f'command="{run}" {key}')
    (folder / "authorized_keys").write_text("".join(keys))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{host.port} {(folder / 'host.pub').read_text()}")
    (folder / "nobody_known").write_text("")
    (folder / "banner").write_text("Authorized use only.\n")
    (folder / "sshd_config").write_text(
        f"Port {host.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nPermitRootLogin yes\nBanner {folder / 'banner'}\nMaxStartups 100\n"
    )
    config = f"Host *\n  UserKnownHostsFile {folder / 'known_hosts'}\n  StrictHostKeyChecking yes\n"
    config += "  IdentitiesOnly yes\n  GlobalKnownHostsFile none\n  UpdateHostKeys no\n"
    (folder / "config").write_text(config)
    (folder / "config_with_key").write_text(f"{config}  IdentityFile {folder / 'bash'}\n")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _wait_for(host: SshHost, process: "subprocess.Popen[bytes]") -> None:
    """Wait until it listens and has set the process name that an idle sshd has."""
    deadline = time.monotonic() + TIMEOUT_S
    while b"[listener] 0 of" not in procfs.argv(process.pid):
        assert process.poll() is None, f"sshd ended:\n{host.log()}"
        assert time.monotonic() < deadline, f"sshd does not listen:\n{host.log()}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Engine:
    """A running daemon, and the folder with its ``docker`` and ``srun``."""

    folder: Path
    process: "subprocess.Popen[str]"

    def command(self, name: str, *words: str) -> list[str]:
        return [str(self.folder / name), *words]

    @property
    def docker(self) -> list[str]:
        return self.command("docker", "run", "-i", "--rm", "sim:1")

    @property
    def srun(self) -> list[str]:
        return self.command("srun", "-n1", "--unbuffered")


@contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """An engine that runs containers and jobs in namespaces without this repository."""
    need_namespaces()
    path = folder / "engine.sock"
    # Beside the hidden repository, where its commands would not exist on the remote side; here the client runs them.
    for name in ("docker", "srun"):
        line = f'FAKE_ENGINE={path} exec {sys.executable} -I -S {engine.__file__} {name} "$@"\n'
        (folder / name).write_text(f"#!/bin/sh\n{line}")
        (folder / name).chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", engine.__file__, "serve", str(path), str(REPOSITORY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "listening\n"
        yield Engine(folder, process)
    finally:
        process.stdin.close()
        process.wait(TIMEOUT_S)
        process.stdout.close()


def envs_over_there(folder: Path) -> Path:
    """The simulators of the tests, in a folder that another host sees too."""
    return Path(shutil.copytree(ENVS, folder / "envs"))
