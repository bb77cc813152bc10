"""The check whether a port opens and speaks TLS, which a client library reports as a mere time-out."""

import socket
import ssl

from msgspec import Struct

from workers.commands.check.failures import TlsKeys, in_words, tls_mend
from workers.settings import KafkaSettings

_KEYS = TlsKeys(authority="kafka.ssl_cafile", hostname="kafka.ssl_check_hostname")


class Trouble(Struct, frozen=True, kw_only=True):
    """A problem of one address, and how to fix it."""

    found: str
    mend: str


def port_trouble(host: str, port: int, timeout_s: float, mend: str) -> Trouble | None:
    """Return the problem of a port; None if it opens."""
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except (OSError, UnicodeError) as exc:
        return Trouble(found=f"{shown(host, port)}: {in_words(exc)}", mend=mend)
    return None


def broker_trouble(kafka: KafkaSettings, host: str, port: int, timeout_s: float) -> Trouble | None:
    """Return the problem of a broker's port; None if it opens and, with TLS, its certificate is accepted."""
    trouble = port_trouble(
        host, port, timeout_s, "start the brokers, or set kafka.bootstrap_servers to their addresses"
    )
    if trouble is not None or not kafka.security_protocol.endswith("SSL"):
        return trouble
    try:
        context = _tls_context(kafka)
    except (OSError, ValueError) as exc:  # an SSLError is an OSError
        found = f"certificates or key cannot be used ({getattr(exc, 'reason', None) or type(exc).__name__})"
        keys = "kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile and kafka.ssl_password_file"
        return Trouble(found=found, mend=f"set {keys} to PEM files that belong together")
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLError as exc:
        otherwise = f"kafka.security_protocol is {kafka.security_protocol}: is this the listener for it?"
        return Trouble(found=f"{shown(host, port)}: {in_words(exc)}", mend=tls_mend(exc, _KEYS, otherwise))
    except OSError as exc:
        found = f"{shown(host, port)}: {in_words(exc)} during the TLS handshake"
        return Trouble(found=found, mend="read the broker's log")
    return None


def shown(host: str, port: int) -> str:
    """Return an address as settings spell it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_and_port(server: str) -> tuple[str, int]:
    """Split an address of `kafka.bootstrap_servers`, whose form was checked when settings loaded."""
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


def _tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Build a context as kafka-python does (kafka/net/transport.py). Raises OSError and ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = kafka.ssl_check_hostname
    if kafka.ssl_cafile:
        context.load_verify_locations(kafka.ssl_cafile)
    else:
        context.load_default_certs()
    if kafka.ssl_certfile:
        # With an encrypted key and no password, OpenSSL would ask for one on the terminal.
        password = kafka.ssl_password.reveal()
        context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile or None, lambda: password)
    return context
