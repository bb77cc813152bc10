"""The probe of a door: its files, as `sluicegate door` reads them when it starts."""

import ssl
from collections.abc import Iterator

from topology.contract.errors import SettingsError
from workers.commands.check.failures import in_words
from workers.commands.check.probe import Line, note, ok, unused, wrong
from workers.door.callers import load_callers
from workers.settings import DoorSettings, Settings


def probe_door(settings: Settings, _timeout_s: float) -> Iterator[Line]:
    """Check keys, digest key and certificate. The rights of a door are among those of the topics."""
    door = settings.door
    if not door.keys_file:
        yield unused("door", "door.keys_file is empty: no door is opened with these settings")
        return
    try:
        callers = load_callers(door.keys_file)
    except SettingsError as exc:
        yield wrong("door", f"{exc.key}: {exc.allowed}", "correct the file; docs/door.md shows one")
        return
    if not door.digest_key:
        yield wrong("door", "door.digest_key is empty", "set door.digest_key_file, the same for all doors")
        return
    lines = [*_certificate(door), *_exposed(door), *_streams(settings)]
    yield from lines
    if not any(line.mend for line in lines):
        yield ok("door", f"keys: {len(callers)}, models: {', '.join(door.models)}")


def _certificate(door: DoorSettings) -> Iterator[Line]:
    if not door.tls_certfile:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(door.tls_certfile, door.tls_keyfile)
    except OSError as exc:  # an SSLError is one
        mend = "set door.tls_certfile and door.tls_keyfile to a certificate and its own key, in PEM"
        yield wrong("door", f"the certificate cannot be used: {in_words(exc)}", mend)


def _exposed(door: DoorSettings) -> Iterator[Line]:
    if not door.tls_certfile and door.host not in {"127.0.0.1", "::1", "localhost"}:
        mend = "set door.tls_certfile, unless a proxy or a mesh ends TLS before it"
        yield note("door", f"listens on {door.host} without TLS: keys and conversations can be read on the way", mend)


def _streams(settings: Settings) -> Iterator[Line]:
    if settings.door.streams and not settings.streaming.enabled:
        mend = "set streaming.enabled for the workers; until then every answer arrives whole"
        yield note("door", "door.streams is on, but streaming.enabled is off", mend)
