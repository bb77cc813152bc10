"""A value that is never shown: not by repr, str or JSON, and in no error message.

Settings go to actors, and Ray keeps what an actor was made with in its control store. So a secret that settings were
loaded with is pickled as its source, a file or a variable, and each process reads that for itself.
"""

import os
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct, structs

from topology.contract.errors import SettingsError

MASK = "***"
SECRET_FILE_BYTES_MAX: Final = 64 * 1024


class SourceKind(StrEnum):
    """The kind of place that a secret is read from."""

    FILE = "file"
    VARIABLE = "variable"
    SETTINGS_FILE = "settings file"


class SecretSource(NamedTuple):
    """The place of a secret: a file that holds nothing else, a variable, or a settings file with the dotted `key`."""

    kind: SourceKind
    name: str
    key: str = ""

    def read(self) -> str:
        """Return the secret that is there now. Raises SettingsError, which names the place."""
        try:
            return self._read()
        except (OSError, KeyError, TypeError, ValueError) as exc:  # TOMLDecodeError is a ValueError
            where = f"{self.name} ({self.kind}{self.key and ', ' + self.key})"
            wanted = "there in every process that works: a secret is read where it is used, and never handed over"
            raise SettingsError(where, type(exc).__name__, wanted) from None

    def _read(self) -> str:
        match self.kind:
            case SourceKind.FILE:
                return read_secret_file(Path(self.name))
            case SourceKind.VARIABLE:
                return os.environ[self.name]
            case SourceKind.SETTINGS_FILE:
                found: object = tomllib.loads(Path(self.name).read_text(encoding="utf-8"))
                for part in self.key.split("."):
                    found = found[part] if isinstance(found, dict) else None
                if not isinstance(found, str):
                    raise TypeError
                return found


class Secret:
    """A string that only `reveal` returns. It is falsy if empty, which means that it was not set.

    One with a source is pickled without its value. One without, made in code, is pickled with it: `require_sources`
    keeps it from Ray. msgspec refuses to encode either.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str | None = "", source: SecretSource | None = None) -> None:
        self._value = value
        self.source = source

    def reveal(self) -> str:
        """Return the value itself, for the call that needs it and never for a message.

        Raises SettingsError if it came without its value, and its source cannot be read here.
        """
        if self._value is None:
            self._value = self.source.read() if self.source is not None else ""
        return self._value

    def reread(self) -> str:
        """Return what its file holds now; the value itself if it has no file, or the file cannot be read at the moment.

        For a token that something else keeps fresh. What could be read once is better than nothing: the broker decides.
        """
        if self.source is not None and self.source.kind is SourceKind.FILE:
            try:
                self._value = self.source.read()
            except SettingsError:
                if self._value is None:
                    raise
        return self.reveal()

    def __bool__(self) -> bool:
        return self._value is None or bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return MASK if self else ""

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)

    def __reduce__(self) -> tuple[type["Secret"], tuple[str | None, SecretSource | None]]:
        return Secret, (self._value if self.source is None else None, self.source)


def read_secret_file(path: Path) -> str:
    """Return a file's text without its last line break and the mark that Windows' editors begin it with.

    Raises OSError; ValueError if it is too long, not UTF-8, or empty: a file is not named in order to have no secret.
    """
    with path.open("rb") as file:
        content = file.read(SECRET_FILE_BYTES_MAX + 1)
    if len(content) > SECRET_FILE_BYTES_MAX:
        raise ValueError("too long")
    text = content.decode("utf-8-sig").rstrip("\r\n")
    if not text.strip():
        raise ValueError("empty")
    return text


def secrets_of(settings: Struct, prefix: str = "") -> Iterator[tuple[str, Secret]]:
    """Yield every secret with its dotted key."""
    for field in structs.fields(type(settings)):
        value = getattr(settings, field.name)
        if isinstance(value, Secret):
            yield prefix + field.name, value
        elif isinstance(value, Struct):
            yield from secrets_of(value, f"{prefix}{field.name}.")


def require_sources(settings: Struct) -> None:
    """Raise SettingsError for a secret that could only be handed over with its value."""
    for key, secret in secrets_of(settings):
        if secret and secret.source is None:
            raise SettingsError(key, MASK, "a secret from a file or a variable, because actors read it for themselves")


def read_secrets(settings: Struct) -> None:
    """Read every secret that came without its value. Raises SettingsError, which names the first place missing."""
    for _, secret in secrets_of(settings):
        secret.reveal()
