"""Who asks: API keys by their hash, and what each gives: tenant, verified age band, locale, region, limits.

    [keys.shop-web]
    sha256 = ["<64 hex digits>"]
    tenant = "shop"
    age_band = "adult"

The file is read again when it changes. One that cannot be read changes nothing, which the log says.
"""

import hashlib
import logging
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from topology.contract.errors import SettingsError
from topology.contract.events import Id, UserContext
from topology.contract.labels import AgeBand
from topology.contract.names import CANARY_TENANT
from workers.door.refusals import FORBIDDEN, LIMITED, NOT_ALLOWED, Refusal, bad_field, retry_after

logger = logging.getLogger("sluicegate.door")

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
API_KEY_CHARACTERS_MAX: Final = 512
MINUTE_S: Final = 60.0

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
KeyName = Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,64}$")]

AGE_HEADER: Final = "x-sluicegate-age-band"
LOCALE_HEADER: Final = "x-sluicegate-locale"
USER_HEADER: Final = "x-sluicegate-user"
CONVERSATION_HEADER: Final = "x-sluicegate-conversation-id"
OVERRIDES: Final = (AGE_HEADER, LOCALE_HEADER, USER_HEADER, CONVERSATION_HEADER)
"""Headers by which a trusted caller says for itself what a key would say for all of its users."""


class Caller(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One API key. Two hashes let a key be replaced without a gap. `age_band` counts as verified, unless unknown."""

    sha256: Annotated[tuple[Sha256, ...], Meta(min_length=1, max_length=4)]
    tenant: Id
    age_band: AgeBand = AgeBand.UNKNOWN
    locale: Annotated[str, Meta(max_length=35)] = "en"
    region: Annotated[str, Meta(max_length=8)] = ""
    is_trusted: bool = False
    requests_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 600
    concurrent_max: Annotated[int, Meta(ge=1, le=10_000)] = 32
    body_bytes_max: Annotated[int, Meta(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024

    def __post_init__(self) -> None:
        if self.tenant == CANARY_TENANT:
            raise ValueError(f"{CANARY_TENANT} is reserved")


class _KeysFile(Struct, frozen=True, forbid_unknown_fields=True):
    keys: dict[KeyName, Caller]


class Overrides(Struct, frozen=True, kw_only=True):
    """What a trusted caller said in headers; empty: nothing."""

    age_band: AgeBand | None = None
    locale: str = ""
    user: str = ""
    conversation_id: str = ""


def load_callers(path: str) -> dict[str, Caller]:
    """Return every caller by name. Raises SettingsError, which quotes nothing of the file."""
    try:
        content = _content(Path(path))
        callers = msgspec.convert(tomllib.loads(content.decode()), _KeysFile, strict=True).keys
    except OSError as exc:
        raise SettingsError("door.keys_file", path, exc.strerror or "a file that can be read") from exc
    except msgspec.ValidationError as exc:
        raise SettingsError("door.keys_file", path, str(exc)) from None
    except ValueError as exc:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors, and quote the input
        raise SettingsError("door.keys_file", path, f"a TOML file of keys ({type(exc).__name__})") from None
    hashes = [each for caller in callers.values() for each in caller.sha256]
    if len(set(hashes)) < len(hashes):
        raise SettingsError("door.keys_file", path, "each hash once")
    return callers


def _content(path: Path) -> bytes:
    """Return a file's bytes. Raises OSError, and ValueError for a file that is too long."""
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"longer than {FILE_BYTES_MAX} bytes")
    return content


class Callers:
    """The API keys in force. `refresh` blocks for a look at the file; everything else is for the loop alone."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp = self._stamped()
        self._take(load_callers(path))

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(load_callers(self._path))
        except SettingsError as exc:
            logger.warning("the keys stay as they are: %s", exc)
        else:
            logger.info("keys were read again", extra={"count": len(self._by_hash)})

    def of(self, authorization: str) -> tuple[str, Caller]:
        """Return name and caller of an `Authorization` header. Raises Refusal (401)."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer" and 0 < len(token) <= API_KEY_CHARACTERS_MAX:
            # The hash is compared, not the key: time tells nothing of it.
            found = self._by_hash.get(hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest())
            if found is not None:
                return found
        challenge = {"WWW-Authenticate": "Bearer"}
        raise Refusal(401, "invalid_api_key", "no API key that is known here", None, NOT_ALLOWED, challenge)

    @property
    def names(self) -> set[str]:
        """Return the names of all callers."""
        return {name for name, _ in self._by_hash.values()}

    def _take(self, callers: Mapping[str, Caller]) -> None:
        self._by_hash = {each: (name, caller) for name, caller in callers.items() for each in caller.sha256}

    def _stamped(self) -> tuple[int, int, int]:
        try:
            found = Path(self._path).stat()
        except OSError:
            return 0, 0, 0
        return found.st_mtime_ns, found.st_size, found.st_ino


def overrides_of(caller: Caller, headers: Mapping[str, str]) -> Overrides:
    """Return what override headers say. Raises Refusal: 403 if the key is not trusted, 400 for a bad value."""
    given = {name: headers[name] for name in OVERRIDES if headers.get(name)}
    if given and not caller.is_trusted:
        name = next(iter(given))
        raise Refusal(403, "key_not_trusted", f"{name}: this API key may not say so", name, FORBIDDEN)
    for name, longest in ((LOCALE_HEADER, 35), (USER_HEADER, 256), (CONVERSATION_HEADER, 128)):
        value = given.get(name, "")
        if len(value) > longest or not value.isascii() or not value.isprintable():
            raise bad_field(name, f"at most {longest} printable ASCII characters")
    age = given.get(AGE_HEADER)
    if age is not None and age not in set(AgeBand):
        raise bad_field(AGE_HEADER, f"one of {', '.join(AgeBand)}")
    return Overrides(
        age_band=None if age is None else AgeBand(age),
        locale=given.get(LOCALE_HEADER, ""),
        user=given.get(USER_HEADER, ""),
        conversation_id=given.get(CONVERSATION_HEADER, ""),
    )


def user_of(caller: Caller, said: Overrides, subject: str) -> UserContext:
    """Return the user of an event: the caller's word where it is trusted and has given it, else the key's."""
    age_band = caller.age_band if said.age_band is None else said.age_band
    return UserContext(
        subject=said.user or subject,
        age_band=age_band,
        age_verified=age_band is not AgeBand.UNKNOWN,
        locale=said.locale or caller.locale,
        region=caller.region,
    )


class Admissions:
    """The limits of each caller: requests a minute, by a bucket that refills, and requests at once."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._buckets: dict[str, tuple[float, float]] = {}
        self._running: dict[str, int] = {}

    def enter(self, name: str, caller: Caller) -> None:
        """Count a request. Raises Refusal (429, with the wait) if there are too many."""
        if self._running.get(name, 0) >= caller.concurrent_max:
            raise self._limited("concurrent_max", f"{caller.concurrent_max} requests at once", 1.0)
        now_s = self._monotonic_s()
        per_s = caller.requests_per_minute / MINUTE_S
        left, at_s = self._buckets.get(name, (float(caller.requests_per_minute), now_s))
        left = min(float(caller.requests_per_minute), left + (now_s - at_s) * per_s)
        if left < 1:
            self._buckets[name] = (left, now_s)
            raise self._limited("requests_per_minute", f"{caller.requests_per_minute} a minute", (1 - left) / per_s)
        self._buckets[name] = (left - 1, now_s)
        self._running[name] = self._running.get(name, 0) + 1

    def leave(self, name: str) -> None:
        """Forget a request that has ended."""
        left = self._running.pop(name) - 1
        if left:
            self._running[name] = left

    def keep_only(self, names: set[str]) -> None:
        """Forget the buckets of callers that are gone."""
        for name in self._buckets.keys() - names:
            del self._buckets[name]

    @staticmethod
    def _limited(code: str, bound: str, wait_s: float) -> Refusal:
        return Refusal(429, code, f"this API key may make {bound}", None, LIMITED, retry_after(wait_s))
