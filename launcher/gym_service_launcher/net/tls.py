"""TLS for both ends: certificates, their verification, and errors.

Knows the standard library's ssl, certificates and their fingerprints. Never knows tokens, nor what is sent. Python 3.10
and up. Imported only if TLS is used.

A self-signed certificate is pinned by its SHA-256; then its name and its dates do not matter. A certificate of a CA is
verified by name and dates, as usual. TLS encrypts the connection and authenticates the server. The token authenticates
the client, afterwards and inside TLS.
"""

import errno
import hashlib
import hmac
import os
import re
import select
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from gym_service_launcher.errors import AuthError, ConfigError
from gym_service_launcher.net import sigpipe
from gym_service_launcher.net.handshake import ServerFullError
from gym_service_launcher.standalone import interrupts

# What to try where OpenSSL does not verify a certificate, by its number in openssl's x509_vfy.h.
NOT_YET_VALID, EXPIRED, OTHER_HOST, OTHER_IP = 9, 10, 62, 64
NEW_CERTIFICATE = "a new certificate at that server, if the clocks of both machines are right"
OTHER_NAME = "address = a name that the certificate is for, or a certificate for the name in address"
ADVICE = {NOT_YET_VALID: NEW_CERTIFICATE, EXPIRED: NEW_CERTIFICATE, OTHER_HOST: OTHER_NAME, OTHER_IP: OTHER_NAME}
UNKNOWN_SIGNER = "tls_ca = the file of its signer, or tls_sha256 = the SHA-256 that gym-service run prints there"

HOW_TO_CREATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=gym-service "
    "-keyout key.pem -out cert.pem"
)


class Certificate:
    """The certificate of a server, and the fingerprint by which clients can pin it."""

    def __init__(self, cert: Path, key: Path | None) -> None:
        """Read both files. ``key`` is None if the private key is in the file of the certificate.

        Raises:
            ConfigError: a file cannot be read, the two do not match, or other users can read the key.
        """
        key = key or cert
        for file in dict.fromkeys((cert, key)):
            if not os.access(file, os.R_OK):
                raise _unusable(file, "does not exist or cannot be read", HOW_TO_CREATE)
        if os.stat(key).st_mode & stat.S_IRWXO:
            raise _unusable(key, "contains a private key that every user can read", f"chmod 600 {key}")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Without authenticating, a client could repeat the costly part again and again. OpenSSL 3 refuses that anyway.
        self._context.options |= ssl.OP_NO_RENEGOTIATION
        # No client resumes a session, and unread tickets would stay in the stream.
        self._context.num_tickets = 0
        try:
            self._context.load_cert_chain(cert, key, password=lambda: _refuse_password(key))
            shown = re.search(f"{ssl.PEM_HEADER}.*?{ssl.PEM_FOOTER}", cert.read_text("ascii", "replace"), re.DOTALL)
            assert shown, "load_cert_chain found a certificate"
            self.fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown[0])).hexdigest()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            interrupts.raise_if_from_handler(error)
            why = f"and {key} are not a certificate and its key" if key != cert else "is not a certificate with its key"
            raise _unusable(cert, f"{why}: {error}", HOW_TO_CREATE) from error

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """The server's side over a non-blocking socket. Call ``do_handshake`` on it."""
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)


def events_to_retry(error: OSError, usual: int = select.POLLIN) -> int:
    """The events to poll for before a call on a non-blocking socket is tried again; 0 if the call has failed.

    TLS itself says what it waits for, which may be the other direction. Without TLS it is ``usual``, the call's own.
    """
    if isinstance(error, ssl.SSLWantWriteError):
        return select.POLLOUT
    if isinstance(error, ssl.SSLWantReadError):
        return select.POLLIN
    return usual if isinstance(error, BlockingIOError) else 0


def connect(
    sock: socket.socket,
    host: str,
    ca: Path | None,
    sha256: str | None,
    made: Callable[[ssl.SSLSocket], object] = lambda sock: None,
) -> ssl.SSLSocket:
    """The client's side, once the certificate of the server is verified.

    Blocks for at most the timeout of the socket. Takes over ``sock``, also if it fails.

    Args:
        sock: a connected socket.
        host: the name that a certificate signed by ``ca`` must have.
        ca: a file of trusted certificates.
        sha256: the fingerprint of the only certificate to accept, with any signature.
        made: is given the socket that takes the place of ``sock``, before the handshake.

    Raises:
        AuthError: the server has another certificate, or does not use TLS.
        ServerFullError: the server disconnected before it sent a certificate, as it does with too many connections.
        ConfigError: the file ``ca`` cannot be used.
        TimeoutError: the server did not answer in time.
    """
    wrapped: ssl.SSLSocket | None = None
    try:
        context = _context_of_client(ca)
        wrapped = context.wrap_socket(sock, server_hostname=host if ca else None, do_handshake_on_connect=False)
        made(wrapped)
        sigpipe.without(wrapped.do_handshake)
    except BaseException as error:
        (wrapped or sock).close()
        interrupts.raise_if_from_handler(error)
        if isinstance(error, TimeoutError) or not isinstance(error, (OSError, ValueError)):
            raise
        # ENOTCONN: it was reset before the handshake began.
        if isinstance(error, (ssl.SSLEOFError, ConnectionError)) or getattr(error, "errno", None) == errno.ENOTCONN:
            raise ServerFullError("it disconnected before it sent a certificate") from error
        raise AuthError(_explanation(error)) from error
    shown = hashlib.sha256(wrapped.getpeercert(binary_form=True) or b"").hexdigest()
    if sha256 and not hmac.compare_digest(shown, sha256):
        wrapped.close()
        raise AuthError(
            f"its certificate has the SHA-256 {shown}, but tls_sha256 is {sha256}\n"
            "  try: the value that gym-service run prints there, if its certificate is new; else another host answers"
        )
    return wrapped


def _context_of_client(ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the caller compares the fingerprint instead
        return context
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise ConfigError(f"tls_ca: {ca}: {error.strerror or error}", file=None, key="tls_ca") from error
    return context


def _explanation(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = ADVICE.get(error.verify_code, UNKNOWN_SIGNER)
        return f"its certificate cannot be verified: {error.verify_message}\n  try: {advice}"
    reason = getattr(error, "reason", None) or error
    return f"the TLS handshake failed ({reason})\n  try: remove tls_sha256 and tls_ca, if that server does not use TLS"


def _refuse_password(key: Path) -> str:
    raise _unusable(key, "is encrypted with a password", f"openssl pkey -in {key} -out key.pem")


def _unusable(file: Path, why: str, advice: str) -> ConfigError:
    return ConfigError(f"{file} {why}\n  try: {advice}", file=None, key="tls_cert")
