"""Who asks: keys by their hash, what they may say, and how much they may ask."""

import hashlib
import os
from pathlib import Path

import pytest

from serving.fakes import ManualClock
from topology.contract.errors import SettingsError
from topology.contract.events import UserContext
from topology.contract.labels import AgeBand
from workers.door.callers import Admissions, Caller, Callers, Overrides, load_callers, overrides_of, user_of
from workers.door.refusals import Refusal

HASH = hashlib.sha256(b"sk-1").hexdigest()
OTHER = hashlib.sha256(b"sk-2").hexdigest()
FILE = f'[keys.shop]\nsha256 = ["{HASH}"]\ntenant = "shop"\nage_band = "teen"\n'


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_key_is_known_by_its_hash(tmp_path: Path) -> None:
    callers = Callers(str(written(tmp_path / "keys", FILE)))
    name, caller = callers.of("Bearer sk-1")
    assert (name, caller.tenant, caller.age_band) == ("shop", "shop", AgeBand.TEEN)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer sk-2", "Basic sk-1", "sk-1", f"Bearer {HASH}"])
def test_any_other_key_is_not(tmp_path: Path, header: str) -> None:
    callers = Callers(str(written(tmp_path / "keys", FILE)))
    with pytest.raises(Refusal) as caught:
        callers.of(header)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "text",
    [
        "keys = ",
        f'[keys.a]\nsha256 = ["{HASH}"]\n',
        '[keys.a]\nsha256 = ["sk-1"]\ntenant = "t"\n',
        f'[keys.a]\nsha256 = ["{HASH}"]\ntenant = "sluicegate-canary"\n',
        f'[keys.a]\nsha256 = ["{HASH}"]\ntenant = "t"\nage = 3\n',
        f'[keys.a]\nsha256 = ["{HASH}"]\ntenant = "t"\n[keys.b]\nsha256 = ["{HASH}"]\ntenant = "t"\n',
    ],
)
def test_a_file_that_would_be_misread_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"door\.keys_file"):
        load_callers(str(written(tmp_path / "keys", text)))


def test_a_changed_file_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    path = written(tmp_path / "keys", FILE)
    callers = Callers(str(path))
    written(path, FILE.replace(HASH, OTHER) + "\n")
    callers.refresh()
    assert callers.of("Bearer sk-2")[0] == "shop"
    with pytest.raises(Refusal):
        callers.of("Bearer sk-1")
    written(path, "broken = ")
    os.utime(path, ns=(1, 1))
    callers.refresh()
    assert callers.of("Bearer sk-2")[0] == "shop"


CALLER = Caller(sha256=(HASH,), tenant="shop", age_band=AgeBand.ADULT, locale="de", region="DE")
TRUSTED = Caller(sha256=(HASH,), tenant="shop", is_trusted=True)


def test_a_key_says_who_its_users_are() -> None:
    known = UserContext(subject="u", age_band=AgeBand.ADULT, age_verified=True, locale="de", region="DE")
    assert user_of(CALLER, Overrides(), "u") == known


def test_an_unknown_age_is_not_verified() -> None:
    assert not user_of(TRUSTED, Overrides(), "u").age_verified


def test_a_trusted_caller_may_say_it_for_itself() -> None:
    headers = {
        "x-sluicegate-age-band": "teen",
        "x-sluicegate-locale": "fr",
        "x-sluicegate-user": "anna",
        "x-sluicegate-conversation-id": "c-1",
    }
    said = overrides_of(TRUSTED, headers)
    assert said == Overrides(age_band=AgeBand.TEEN, locale="fr", user="anna", conversation_id="c-1")
    assert user_of(TRUSTED, said, "u") == UserContext(
        subject="anna", age_band=AgeBand.TEEN, age_verified=True, locale="fr"
    )


@pytest.mark.parametrize(
    "name", ["x-sluicegate-age-band", "x-sluicegate-locale", "x-sluicegate-user", "x-sluicegate-conversation-id"]
)
def test_any_other_caller_may_not(name: str) -> None:
    with pytest.raises(Refusal) as caught:
        overrides_of(CALLER, {name: "adult"})
    assert (caught.value.status, caught.value.param) == (403, name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-sluicegate-age-band", "old"),
        ("x-sluicegate-locale", "x" * 36),
        ("x-sluicegate-conversation-id", "c" * 129),
        ("x-sluicegate-user", "\x07"),
    ],
)
def test_a_bad_override_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(Refusal) as caught:
        overrides_of(TRUSTED, {name: value})
    assert (caught.value.status, caught.value.param) == (400, name)


def test_a_caller_may_make_so_many_requests_a_minute() -> None:
    clock = ManualClock()
    admissions = Admissions(clock.monotonic_s)
    caller = Caller(sha256=(HASH,), tenant="t", requests_per_minute=2)
    for _ in range(2):
        admissions.enter("a", caller)
        admissions.leave("a")
    with pytest.raises(Refusal) as caught:
        admissions.enter("a", caller)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "30")
    admissions.enter("b", caller)
    clock.advance(30)
    admissions.enter("a", caller)


def test_a_caller_may_make_so_many_requests_at_once() -> None:
    admissions = Admissions(ManualClock().monotonic_s)
    caller = Caller(sha256=(HASH,), tenant="t", concurrent_max=1)
    admissions.enter("a", caller)
    with pytest.raises(Refusal) as caught:
        admissions.enter("a", caller)
    assert (caught.value.status, caught.value.code) == (429, "concurrent_max")
    admissions.leave("a")
    admissions.enter("a", caller)
