"""The table of the library's defects names tests that are there, and the version that is pinned."""

import re
import tomllib

from tests.checkout import ROOT

PAGE = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    defined = {
        name
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named - defined == set()
    assert len(named) > 20


def test_the_page_is_about_the_pinned_version() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (pinned,) = (found for found in dependencies if found.startswith("kafka-python"))
    version = re.search(r"Defects of kafka-python ([\d.]+),", PAGE)
    assert version is not None
    assert pinned.endswith(f"=={version[1]}")
