"""The handshake without a socket: its two halves against each other, and against a peer that is neither."""

import pytest
from gym_service_launcher.errors import AuthError
from gym_service_launcher.net.handshake import HELLO_BYTES, MAGIC, WHOLE_BYTES, Handshake, Role
from gym_service_launcher.net.tokens import Token

TOKEN = Token(b"sixteen bytes or more", "one")
OTHER = Token(b"sixteen bytes or less", "another")
ROLES: tuple[Role, Role] = ("client", "server")


def meet(client: Handshake, server: Handshake, piece_bytes: int = WHOLE_BYTES) -> tuple[bytes, bytes]:
    """Carry bytes between the two in pieces until both stop. Returns what each has sent."""
    sent = {client: client.hello, server: server.hello}
    read = {client: 0, server: 0}
    while any(side.missing_bytes for side in sent):
        for me, other in ((client, server), (server, client)):
            piece = sent[other][read[me] :][: min(me.missing_bytes, piece_bytes)]
            if piece:
                sent[me] += me.receive(piece)
                read[me] += len(piece)
    return sent[client], sent[server]


@pytest.mark.parametrize("piece_bytes", [1, 3, 40, 72])
def test_both_who_know_the_token_get_through(piece_bytes: int) -> None:
    sent = meet(Handshake("client", TOKEN), Handshake("server", TOKEN), piece_bytes)
    assert [len(each) for each in sent] == [WHOLE_BYTES, WHOLE_BYTES]


def test_no_two_are_alike() -> None:
    first = meet(Handshake("client", TOKEN), Handshake("server", TOKEN))
    second = meet(Handshake("client", TOKEN), Handshake("server", TOKEN))
    for one, other in zip(first, second, strict=True):
        assert one[:8] == other[:8]
        assert one[8:HELLO_BYTES] != other[8:HELLO_BYTES]
        assert one[HELLO_BYTES:] != other[HELLO_BYTES:]


def test_the_server_refuses_another_token_and_gives_no_proof() -> None:
    client, server = Handshake("client", OTHER), Handshake("server", TOKEN)
    server.receive(client.hello)
    proof = client.receive(server.hello)
    with pytest.raises(AuthError, match="the client has another token"):
        server.receive(proof)


def test_the_client_refuses_another_token() -> None:
    client, server = Handshake("client", TOKEN), Handshake("server", OTHER)
    server.receive(client.hello)
    client.receive(server.hello)
    proof_of_another_client = Handshake("client", OTHER)
    proof_of_another_client._nonce = client._nonce
    with pytest.raises(AuthError, match="the server has another token"):
        client.receive(server.receive(proof_of_another_client.receive(server.hello)))


@pytest.mark.parametrize("role", ROLES)
def test_what_is_sent_back_is_no_hello(role: Role) -> None:
    side = Handshake(role, TOKEN)
    with pytest.raises(AuthError, match="its first bytes are"):
        side.receive(side.hello)


def test_a_proof_that_is_sent_back_proves_nothing() -> None:
    client = Handshake("client", TOKEN)
    # A server without the token sends the client's own nonce and proof back as its own.
    proof = client.receive(MAGIC["server"] + client.hello[8:])
    with pytest.raises(AuthError, match="another token"):
        client.receive(proof)


def test_what_was_recorded_proves_nothing() -> None:
    recorded, _ = meet(Handshake("client", TOKEN), Handshake("server", TOKEN))
    server = Handshake("server", TOKEN)
    server.receive(recorded[:HELLO_BYTES])
    with pytest.raises(AuthError, match="another token"):
        server.receive(recorded[HELLO_BYTES:])


@pytest.mark.parametrize("role", ROLES)
def test_the_first_wrong_byte_of_the_magic_ends_it(role: Role) -> None:
    magic = MAGIC["server" if role == "client" else "client"]
    for at in range(len(magic)):
        side = Handshake(role, TOKEN)
        for byte in magic[:at]:
            side.receive(bytes([byte]))
        with pytest.raises(AuthError, match="its first bytes are"):
            side.receive(bytes([magic[at] ^ 0xFF]))


@pytest.mark.parametrize("role", ROLES)
def test_a_stream_that_ends_anywhere_is_an_error(role: Role) -> None:
    for at in range(WHOLE_BYTES):
        client, server = Handshake("client", TOKEN), Handshake("server", TOKEN)
        server_hello = server.hello
        server.receive(client.hello)
        proof = server.receive(client.receive(server_hello))
        side, whole = (client, server_hello + proof) if role == "client" else (server, client.hello + proof)
        side._received = whole[:at]
        with pytest.raises(AuthError, match="disconnected before" if at < HELLO_BYTES else "another token"):
            side.receive(b"")


def test_what_follows_is_never_asked_for() -> None:
    client, server = Handshake("client", TOKEN), Handshake("server", TOKEN)
    assert client.missing_bytes == server.missing_bytes == HELLO_BYTES
    meet(client, server)
    assert client.missing_bytes == server.missing_bytes == 0
    with pytest.raises(AssertionError):
        client.receive(b"a frame")
