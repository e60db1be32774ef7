"""Addresses and listening sockets: which are accepted, which are refused, and with which message."""

import socket

import pytest
from gym_service_launcher.net import tcp

from gym_service.errors import ConfigError, ServerStartError


def bound(host: str, port: int = 0) -> list[tuple[str, int]]:
    sockets = tcp.bind(host, port)
    try:
        return [sock.getsockname()[:2] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def test_port_0_is_one_that_is_free() -> None:
    [(host, port)] = bound("127.0.0.1")
    assert (host, port > 0) == ("127.0.0.1", True)


def test_localhost_is_each_of_its_addresses_at_one_port() -> None:
    names = {info[4][0] for info in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    found = bound("localhost")
    assert {host for host, _ in found} <= names
    assert len({port for _, port in found}) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_what_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"can be reached from other machines.*\n  try: .*--tls-cert"):
        tcp.bind(host, 0)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ServerStartError) as error:
            tcp.bind("127.0.0.1", taken.getsockname()[1])
        assert str(error.value).startswith(
            f"cannot listen at {tcp.address(*taken.getsockname())}: the address is already"
        )


def test_no_such_host() -> None:
    with pytest.raises(ConfigError, match="there is no host"):
        tcp.bind("no.such.host.invalid", 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:1", ("127.0.0.1", 1)), ("[::1]:0", ("::1", 0)), ("tcp://localhost:65535", ("localhost", 65535))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert tcp.host_and_port(text) == expected
    assert tcp.address(*expected).removeprefix("tcp://") == text.removeprefix("tcp://")


@pytest.mark.parametrize("text", ["", "localhost", ":1", "localhost:", "localhost:65536", "a:b", "a@b:1", "a:1/x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"not HOST:PORT|[Pp]ort"):
        tcp.host_and_port(text)
