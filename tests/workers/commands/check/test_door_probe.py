"""What `sluicegate check` says of a door before it is opened."""

from pathlib import Path

import pytest

from tests.plugins.open_door import door_settings
from workers.commands.check.door import probe_door
from workers.commands.check.probe import Line, Mark
from workers.settings import DoorSettings, Secret, Settings, StreamingSettings


def lines(door: DoorSettings) -> list[Line]:
    return list(probe_door(Settings(door=door), 1))


def test_without_keys_there_is_no_door() -> None:
    assert [line.mark for line in lines(DoorSettings())] == [Mark.UNUSED]


def test_a_door_that_would_open_is_well(tmp_path: Path) -> None:
    (line,) = lines(door_settings(tmp_path))
    assert (line.mark, line.found) == (Mark.OK, "keys: 3, models: sluicegate")


@pytest.mark.parametrize(
    ("changes", "mark", "words"),
    [
        ({"keys_file": "/nowhere/keys.toml"}, Mark.WRONG, "door.keys_file"),
        ({"digest_key": Secret()}, Mark.WRONG, "door.digest_key"),
        ({"tls_certfile": "/nowhere/a", "tls_keyfile": "/nowhere/b"}, Mark.WRONG, "certificate"),
        ({"host": "0.0.0.0"}, Mark.NOTE, "without TLS"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, changes: dict[str, object], mark: Mark, words: str) -> None:
    (line,) = lines(door_settings(tmp_path, **changes))
    assert line.mark is mark
    assert words in line.found
    assert line.mend


def test_a_file_that_is_no_list_of_keys_is_not_quoted(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text("secret text", encoding="utf-8")
    (line,) = lines(door_settings(tmp_path))
    assert line.mark is Mark.WRONG
    assert "secret" not in line.found + line.mend


def test_streams_that_workers_do_not_write_are_noted(tmp_path: Path) -> None:
    door = door_settings(tmp_path, streams=True)
    (line,) = lines(door)
    assert (line.mark, "streaming.enabled" in line.mend) == (Mark.NOTE, True)
    (line,) = probe_door(Settings(door=door, streaming=StreamingSettings(enabled=True)), 1)
    assert line.mark is Mark.OK
