"""`sluicegate grant sign | verify`: grants that workers accept, and errors that name the field."""

from pathlib import Path

import msgspec
import pytest

from workers.cli import main
from workers.policy.signing import new_private_key, public_half


class Platform:
    """The command line of somebody who signs grants; every file is in one folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        pem = new_private_key()
        (folder / "key.pem").write_bytes(pem)
        (folder / "other.pem").write_bytes(new_private_key())
        self.config = folder / "sluicegate.toml"
        self.config.write_text(f'[grants]\nkeys = {{k1 = "{public_half(pem)}"}}\n')

    def said(self, verb: str, *arguments: object) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = main(["grant", verb, "--config", str(self.config), *map(str, arguments)])
        ended = self._capsys.readouterr()
        return status, ended.out, ended.err

    def sign(self, *arguments: object, key: str = "key.pem", key_id: str = "k1") -> tuple[int, str, str]:
        return self.said("sign", *arguments, "--key", self.folder / key, "--key-id", key_id)

    def file(self, content: str) -> Path:
        path = self.folder / "grant.json"
        path.write_text(content)
        return path


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Platform:
    return Platform(tmp_path, capsys)


ASKED = ("--grant", "erotica_adult", "--tenant", "acme", "--subject", "user-7", "--not-after", "30d")


def test_what_it_signs_is_used(platform: Platform) -> None:
    status, signed, _ = platform.sign(*ASKED)
    assert status == 0
    status, said, _ = platform.said("verify", platform.file(signed))
    assert (status, said.startswith("used: erotica_adult for user-7 of acme, until 20")) == (0, True)


def test_a_grant_in_a_file_is_signed_again_and_options_change_its_fields(platform: Platform) -> None:
    file = platform.file(platform.sign(*ASKED)[1])
    again = platform.folder / "again.json"
    assert platform.sign(file, "--subject", "user-8", "-o", again)[:2] == (0, "")
    assert msgspec.json.decode(again.read_bytes())["subject"] == "user-8"
    assert platform.said("verify", again)[0] == 0


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"tenant": "other"}, (), "altered: signature:"),
        ({"key_id": "k2"}, (), "unknown_key: key_id: grants.keys has no k2"),
        ({}, ("--tenant", "other"), "foreign: tenant, subject: it is for user-7 of acme"),
        ({}, ("--subject", "user-8"), "foreign: tenant, subject:"),
        ({}, ("--at", "31d"), "expired: not_after: it ended"),
        ({}, ("--at", "2020-01-01"), "not_yet_valid: not_before: it begins"),
    ],
)
def test_it_says_which_field_keeps_a_grant_from_counting(
    platform: Platform, changes: dict[str, str], options: tuple[str, ...], said: str
) -> None:
    grant = msgspec.json.decode(platform.sign(*ASKED)[1]) | changes
    status, out, _ = platform.said("verify", platform.file(msgspec.json.encode(grant).decode()), *options)
    assert (status, out[: len(said)]) == (1, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (ASKED[:-2], "not_after: is missing; give --not-after"),
        (ASKED[2:], "grant: is missing; give --grant"),
        ((*ASKED, "--not-after", "soon"), "--not-after: 'soon' is not an ISO 8601 time"),
        ((*ASKED, "--not-after", "2020-01-01"), "not_after 2020-01-01T00:00:00Z: a time after not_before"),
        ((*ASKED, "--tenant", "x" * 200), "tenant: Expected `str` of length <= 128"),
    ],
)
def test_errors_name_the_field(platform: Platform, arguments: tuple[str, ...], said: str) -> None:
    status, out, error = platform.sign(*arguments)
    assert (status, out) == (2, "")
    assert error.startswith(f"sluicegate grant sign: {said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"notafter": 5}', "notafter: no field of a grant"),
        ('{"grant": "g", "tenant": "t", "subject": "s", "not_after": "x"}', "not_after: Expected `int`"),
        ("[]", ""),
    ],
)
def test_errors_in_a_file_name_the_field_too(platform: Platform, content: str, said: str) -> None:
    status, out, error = platform.sign(platform.file(content))
    assert (status, out) == (2, "")
    assert said in error


def test_a_key_that_is_not_the_one_of_its_id_signs_nothing(platform: Platform) -> None:
    status, out, error = platform.sign(*ASKED, key="other.pem")
    assert (status, out) == (2, "")
    assert "the private half of grants.keys.k1" in error
