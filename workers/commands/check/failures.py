"""Errors of the operating system and of TLS in words, and what to do about them."""

import errno
import socket
import ssl
from dataclasses import dataclass

_HOSTNAME_MISMATCH = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_EXPIRED = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

_ERRNO = {
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    errno.ECONNRESET: "the other side reset the connection",
    errno.EHOSTUNREACH: "no route to that host",
    errno.ENETUNREACH: "no route to that network",
    errno.ETIMEDOUT: "no answer to the connection",
    errno.EADDRNOTAVAIL: "no connection to that address is possible",
}


@dataclass(frozen=True)
class TlsKeys:
    """The settings that can fix a TLS failure; empty if there is none."""

    authority: str = ""
    hostname: str = ""


def in_words(error: BaseException) -> str:  # noqa: PLR0911 -- one line per kind of error
    """Return the error in words, with nothing of the peer's text but the fault that it names."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS: {(error.reason or 'handshake failed').replace('_', ' ').lower()}"
        case socket.gaierror():
            return "the name does not resolve"
        case TimeoutError():
            return "no answer in time"
        case ConnectionResetError():
            return _ERRNO[errno.ECONNRESET]
        case UnicodeError():
            return "that is not a host name"
        case OSError() if error.errno in _ERRNO:
            return _ERRNO[error.errno]
        case _:
            return f"the connection failed ({type(error).__name__})"


def tls_mend(error: ssl.SSLError, keys: TlsKeys, otherwise: str) -> str:
    """Return what to do about a TLS failure; `otherwise` if the other side does not seem to speak TLS at all."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return otherwise
    if error.verify_code in _HOSTNAME_MISMATCH:
        also = f", or set {keys.hostname} = false" if keys.hostname else ""
        return f"use a name that the certificate is for{also}"
    if error.verify_code in _EXPIRED:
        return "renew the certificate, or set this machine's clock"
    if keys.authority:
        return f"set {keys.authority} to the authority that signed it"
    return "add the authority that signed it to the system's, or set SSL_CERT_FILE to a file that holds it"
