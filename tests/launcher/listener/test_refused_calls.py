"""A client that is authenticated and requests more than it may: nothing that it names is imported or run."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.net import same_host
from support.serving import proven, running

from gym_service.client.connection import fields
from gym_service.client.requests import encode
from gym_service.protocol import messages
from gym_service.transport.channel import Channel, over_socket

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

RECIPE: dict[str, Any] = {
    "id": "CartPole-v1",
    "entry_point": None,
    "imports": [],
    "kwargs": {},
    "wrappers": [],
    "api": None,
    "max_episode_steps": None,
}
# The module exists, and a client with permission can import it; "trace" is the file that its import leaves.
WISHES: dict[str, dict[str, Any]] = {
    "an import": {"imports": ["tracing"]},
    "an import among simulators": {"imports": ["gym_tracing.inner", "tracing"]},
    "an import by a word that is no list": {"imports": "tracing"},
    "an import by a path": {"imports": ["gym_/../tracing"]},
    "an import with a line behind": {"imports": ["tracing\n"]},
    "an entry point": {"entry_point": "tracing:make"},
    "an entry point and no id": {"entry_point": "tracing:make", "id": None},
    "a wrapper": {"wrappers": ["tracing:make"]},
    "a wrapper by a word": {"wrappers": "tracing:make"},
    "wrappers as a table": {"wrappers": {"tracing:make": 1}},
    "a pickle": {"wrappers": [("%d.%d" % sys.version_info[:2], b"ctracing\nmake\n.")]},
    "the module of an id": {"id": "tracing:CartPole-v1"},
    "the module of an id of bytes": {"id": b"tracing:CartPole-v1"},
    "the module of an id in a list": {"id": ["tracing:CartPole-v1"]},
    "a library": {"api": "tracing"},
    "a library in a list": {"api": ["tracing"]},
    "a path for an id": {"id": "../tracing"},
    "another id among the keywords": {"kwargs": {"id": "tracing:CartPole-v1"}},
    "a bridge that makes what its keywords say": {
        "id": "GymV26Environment-v0",
        "kwargs": {"env_id": "tracing:CartPole-v1"},
    },
    "a batch of it": {"api": "tracing", "batch": {"count": 1, "first_index": 0, "autoreset_mode": "NextStep"}},
}
# What a client can request from its own env.
CALLS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "a function": (messages.CALL_FUNCTION, ("tracing:make", [], {})),
    "a private method": (messages.CALL, ("__init_subclass__", [], {})),
    "what its class is made of": (messages.GET, ("__class__",)),
    "a way through attributes": (messages.GET, ("unwrapped.__class__",)),
    "another class": (messages.SET, ("__class__", "tracing", True)),
    "a private name": (messages.SET, ("_max_episode_steps", 3, True)),
}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
def importable(tmp_path: Path, trace: Path) -> Path:
    """A folder with the module."""
    folder = tmp_path / "importable"
    folder.mkdir()
    leaves_a_trace = f"open({str(trace)!r}, 'a').write('imported')\ndef make(*args, **kwargs): pass\n"
    (folder / "tracing.py").write_text(leaves_a_trace)
    return folder


class Asking:
    """A connection that sends requests directly, without the client's own checks."""

    def __init__(self, sock: socket.socket) -> None:
        assert sock.recv(same_host.PREAMBLE_BYTES, socket.MSG_WAITALL) == same_host.NO_SHARED_MEMORY
        self._channel: Channel = over_socket(sock)
        self._calls = 0

    def answer(self, kind: int, *arguments: Any) -> tuple[int, str]:
        """The kind of the answer, and for an error its text."""
        self._calls += 1
        encoder = encode(*(("$", argument) for argument in arguments))
        self._channel.send_frame(kind, self._calls, encoder.head, encoder.buffers)
        frame = self._channel.receive()
        while frame.kind == messages.WARNING:
            frame = self._channel.receive()
        return frame.kind, fields(frame, 5)[2] if frame.kind == messages.ERROR else ""

    def close(self) -> None:
        self._channel.close()


@contextmanager
def asking(*options: str | Path) -> Iterator[Asking]:
    """A connection to a ``gym-service run`` with these options."""
    with running(sys.executable, *options, unix="") as serving:
        made = Asking(proven(serving.address))
        yield made
        made.close()


def test_what_a_client_names_is_neither_imported_nor_run(importable: Path, trace: Path) -> None:
    with asking("--pythonpath", importable) as client:
        assert_nothing_is_imported(client, trace)


def assert_nothing_is_imported(asking: Asking, trace: Path) -> None:
    for wish, words in WISHES.items():
        kind, text = asking.answer(messages.MAKE, {**RECIPE, **words})
        assert kind == messages.ERROR, wish
        assert not trace.exists(), (wish, text)
    # An invalid recipe does not end the connection either.
    for recipe in ({}, None, [], "CartPole-v1", {**RECIPE, "id": None}):
        assert asking.answer(messages.MAKE, recipe)[0] == messages.ERROR
    assert asking.answer(messages.MAKE, RECIPE)[0] == messages.RESULT
    for what, (call, arguments) in CALLS.items():
        kind, text = asking.answer(call, *arguments)
        assert kind == messages.ERROR, what
        assert not trace.exists(), (what, text)
    assert asking.answer(messages.RESET, 1, None)[0] == messages.RESULT


def test_it_would_have_been_imported_by_who_may(importable: Path, trace: Path) -> None:
    """Shows that the module of the tests above can be imported at all."""
    with asking("--pythonpath", importable, "--allow-import") as client:
        # The client can never name the library.
        client.answer(messages.MAKE, {**RECIPE, "api": "tracing"})
        assert not trace.exists()
        client.answer(messages.MAKE, {**RECIPE, "imports": ["tracing"]})
        assert trace.exists()
