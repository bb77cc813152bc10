"""What tests of settings give, and the problems that they get."""

from pathlib import Path

import pytest

from topology.contract.errors import SettingsError
from workers.settings import InvalidSettings, load_settings

HUSH = "correct-horse-battery"
"""A secret, which no problem shows."""


def file_of(folder: Path, text: str) -> Path:
    """Return the settings file that was made of `text`."""
    path = folder / "sluicegate.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path | None, environ: dict[str, str] | None = None) -> dict[str, SettingsError]:
    """Return the problems of settings by key; fails unless there are some."""
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path, environ or {})
    assert HUSH not in str(caught.value)
    return {problem.key: problem for problem in caught.value.problems}
