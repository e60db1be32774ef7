"""TLS as both ends use it: whose certificate is whose, and what is refused.

Knows the standard library's ssl, certificates and their fingerprints. Never knows tokens, nor what travels. Python 3.10
and up. Imported only where TLS is asked for.

A certificate that a server has made for itself is pinned by its SHA-256, and then neither its name nor its dates
matter; one of a CA is judged by name and dates, as everywhere. TLS hides what travels and says who the server is; who
the client is, the token says, afterwards and inside of it.
"""

import hashlib
import hmac
import os
import re
import select
import socket
import ssl
import stat
from pathlib import Path

from gym_service_launcher.errors import AuthError, ConfigError
from gym_service_launcher.net.handshake import ServerFullError

FINGERPRINT_BYTES = 32
HOW_TO_MAKE_ONE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=gym-service "
    "-keyout key.pem -out cert.pem"
)


class Certificate:
    """A server's: what it shows, and its fingerprint, by which clients may know it."""

    def __init__(self, cert: Path, key: Path | None) -> None:
        """Read both; ``key`` of None means that it stands in the same file.

        Raises:
            ConfigError: they cannot be read, do not belong together, or others may read the key.
        """
        key = key or cert
        for file in dict.fromkeys((cert, key)):
            if not os.access(file, os.R_OK):
                raise _unusable(file, "is not there, or may not be read", HOW_TO_MAKE_ONE)
        if os.stat(key).st_mode & stat.S_IRWXO:
            raise _unusable(key, "holds a private key that everybody may read", f"chmod 600 {key}")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client could ask for the costly part again and again, and prove nothing. OpenSSL 3 refuses that by itself.
        self._context.options |= ssl.OP_NO_RENEGOTIATION
        # No client comes back with one, and they would lie unread in the stream.
        self._context.num_tickets = 0
        try:
            self._context.load_cert_chain(cert, key, password=lambda: _refuse_password(key))
            shown = re.search(f"{ssl.PEM_HEADER}.*?{ssl.PEM_FOOTER}", cert.read_text("ascii", "replace"), re.DOTALL)
            assert shown, "load_cert_chain has found one"
            self.fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown[0])).hexdigest()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            why = f"and {key} are no certificate and its key" if key != cert else "is no certificate with its key"
            raise _unusable(cert, f"{why}: {error}", HOW_TO_MAKE_ONE) from error

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """The server's side over a socket that does not block; ``do_handshake`` is still to be called."""
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)


def awaited(error: OSError, plainly: int = select.POLLIN) -> int:
    """What to poll for where a call on a socket that does not block could not go on; 0 where it has failed.

    TLS says itself what it waits for, which may be the other direction; without it, it is ``plainly`` the call's own.
    """
    if isinstance(error, ssl.SSLWantWriteError):
        return select.POLLOUT
    if isinstance(error, ssl.SSLWantReadError):
        return select.POLLIN
    return plainly if isinstance(error, BlockingIOError) else 0


def connect(sock: socket.socket, host: str, ca: Path | None, sha256: str | None) -> ssl.SSLSocket:
    """The client's side, once the server has shown the certificate that was asked for.

    Blocks for as long as the socket's timeout is. Owns ``sock``, also where it fails.

    Args:
        sock: a connected socket.
        host: the name that a certificate of ``ca`` must be for.
        ca: a file of certificates whose word is taken.
        sha256: the fingerprint of the one certificate that is taken, whoever has signed it.

    Raises:
        AuthError: it shows another one, or what answers does not speak TLS.
        ServerFullError: it hung up before it had shown one, as servers do when too many come at once.
        ConfigError: the file is of no use.
        TimeoutError: it did not answer in time.
    """
    try:
        context = _context_of_client(ca)
        wrapped = context.wrap_socket(sock, server_hostname=host if ca else None)
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError) or not isinstance(error, (OSError, ValueError)):
            raise
        if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
            raise ServerFullError("it hung up before it had shown a certificate") from error
        raise AuthError(_meaning(error)) from error
    shown = hashlib.sha256(wrapped.getpeercert(binary_form=True) or b"").hexdigest()
    if sha256 and not hmac.compare_digest(shown, sha256):
        wrapped.close()
        raise AuthError(
            f"its certificate has the SHA-256 {shown}, and tls_sha256 says {sha256}\n"
            "  try: what gym-service run prints there, if that certificate is a new one; else somebody is in between"
        )
    return wrapped


def _context_of_client(ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # its fingerprint is looked at instead
        return context
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        raise ConfigError(f"tls_ca: {ca}: {error.strerror or error}", file=None, key="tls_ca") from error
    return context


def _meaning(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not to be trusted: {error.verify_message}\n"
            "  try: tls_ca = the file of who signed it, or tls_sha256 = the SHA-256 that gym-service run prints there"
        )
    reason = getattr(error, "reason", None) or error
    return f"the handshake of TLS failed ({reason})\n  try: leave tls_sha256 and tls_ca out, if that server has no TLS"


def _refuse_password(key: Path) -> str:
    raise _unusable(key, "is encrypted, and nobody is there to be asked", f"openssl pkey -in {key} -out key.pem")


def _unusable(file: Path, why: str, advice: str) -> ConfigError:
    return ConfigError(f"{file} {why}\n  try: {advice}", file=None, key="tls_cert")
