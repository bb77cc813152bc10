"""Secrets among the settings: where they come from, and that nothing shows them."""

import os
import pickle
from pathlib import Path

import msgspec
import pytest

from tests.workers.settings.settings_given import HUSH, file_of, problems_of
from topology.contract.errors import SettingsError
from workers.settings import (
    AgentSettings,
    Settings,
    load_settings,
    read_secrets,
    require_sources,
    show,
)
from workers.settings.secret import Secret

PUBLIC_KEY = "A" * 43 + "="


def test_a_url_with_a_password_is_refused_unshown() -> None:
    problem = problems_of(None, {"SLUICEGATE_GENERATION__BASE_URL": f"http://me:{HUSH}@host/v1"})["generation.base_url"]
    assert problem.shown == "***"


def test_a_secret_comes_from_a_file_without_its_line_break(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(HUSH + "\n", encoding="utf-8")
    settings = load_settings(None, {"SLUICEGATE_GENERATION__API_KEY_FILE": str(secret)})
    assert settings.generation.api_key.reveal() == HUSH


def test_a_secrets_file_may_begin_with_the_mark_of_windows_editors_but_not_be_empty(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    environ = {"SLUICEGATE_GENERATION__API_KEY_FILE": str(secret)}
    secret.write_bytes(b"\xef\xbb\xbf" + HUSH.encode() + b"\r\n")
    assert load_settings(None, environ).generation.api_key.reveal() == HUSH
    for nothing in (b"", b"\n", b" \r\n\r\n", b"\xef\xbb\xbf\n"):
        secret.write_bytes(nothing)
        problem = problems_of(None, environ)["generation.api_key_file"]
        assert (str(secret)[:40] in problem.shown, "not empty" in problem.allowed) == (True, True)


def test_a_secret_in_the_environment_displaces_the_files_secret_file(tmp_path: Path) -> None:
    path = file_of(tmp_path, '[generation]\napi_key_file = "not-there"\n')
    settings = load_settings(path, {"SLUICEGATE_GENERATION__API_KEY": HUSH})
    assert settings.generation.api_key.reveal() == HUSH


def test_a_secret_given_twice_in_one_place_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, f'[generation]\napi_key = "{HUSH}"\napi_key_file = "x"\n')
    assert set(problems_of(path)) == {"generation.api_key_file"}


def test_a_secret_of_the_wrong_kind_is_not_shown(tmp_path: Path) -> None:
    assert problems_of(file_of(tmp_path, "[generation]\napi_key = 42\n"))["generation.api_key"].shown == "***"


def test_a_secret_file_that_is_missing_is_a_problem_that_names_it() -> None:
    problem = problems_of(None, {"SLUICEGATE_GENERATION__API_KEY_FILE": "not-there"})["generation.api_key_file"]
    assert "not-there" in problem.shown


def test_a_secret_is_in_no_representation_of_the_settings() -> None:
    settings = load_settings(None, {"SLUICEGATE_REDACTION__DIGEST_KEY": HUSH})
    shown = (repr(settings), str(settings), f"{settings.redaction.digest_key}", show(settings))
    assert not [text for text in shown if HUSH in text]
    assert 'digest_key = "***"' in show(settings)
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)


def test_settings_reach_an_actor_whole() -> None:
    settings = load_settings(None, {"SLUICEGATE_REDACTION__DIGEST_KEY": HUSH})
    assert pickle.loads(pickle.dumps(settings)) == settings


def _given(how: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a secret that was given in that way."""
    secret = folder / "secret"
    secret.write_text(HUSH + "\n", encoding="utf-8")
    match how:
        case "file":
            return load_settings(file_of(folder, f'[kafka]\nssl_password_file = "{secret}"\n'), {})
        case "settings file":
            return load_settings(file_of(folder, f'[kafka]\nssl_password = "{HUSH}"\n'), {})
        case "variable":
            monkeypatch.setenv("SLUICEGATE_KAFKA__SSL_PASSWORD", HUSH)
        case _:
            monkeypatch.setenv("SLUICEGATE_KAFKA__SSL_PASSWORD_FILE", str(secret))
    return load_settings(None, os.environ)


HOW_GIVEN = ("file", "settings file", "variable", "variable of a file")


@pytest.mark.parametrize("how", HOW_GIVEN)
def test_a_secret_travels_by_its_source_and_is_read_where_it_is_used(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _given(how, tmp_path, monkeypatch)
    require_sources(settings)
    pickled = pickle.dumps(settings)
    assert HUSH.encode() not in pickled
    copy = pickle.loads(pickled)
    assert bool(copy.kafka.ssl_password)
    assert HUSH not in repr(copy)
    read_secrets(copy)
    assert copy.kafka.ssl_password.reveal() == HUSH
    assert copy == settings


@pytest.mark.parametrize("how", HOW_GIVEN)
def test_a_secret_that_is_not_where_it_is_needed_is_an_error_that_names_its_place(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = pickle.loads(pickle.dumps(_given(how, tmp_path, monkeypatch)))
    for path in tmp_path.iterdir():
        path.unlink()
    monkeypatch.delenv("SLUICEGATE_KAFKA__SSL_PASSWORD", raising=False)
    with pytest.raises(SettingsError, match="SSL_PASSWORD" if how == "variable" else str(tmp_path)) as caught:
        read_secrets(copy)
    assert HUSH not in str(caught.value)


def test_a_secret_made_in_code_is_kept_from_actors() -> None:
    require_sources(Settings())
    with pytest.raises(SettingsError, match=r"agent\.token") as caught:
        require_sources(Settings(agent=AgentSettings(token=Secret(HUSH))))
    assert HUSH not in str(caught.value)
