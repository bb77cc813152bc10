"""What is installed is complete: every data file beside the code is declared, and every declaration finds one."""

import tomllib
from pathlib import Path

from tests.checkout import ROOT, files, named

TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
CORPUS = ROOT / "serving" / "training" / "corpus"
"""Rows for training: part of a checkout, eleven megabytes that nobody who installs the package needs."""

FILES = [path for package in ("topology", "serving", "workers") for path in files(below=package)]


def _declared() -> dict[str, set[Path]]:
    """Return per pattern the files that it takes into the wheel."""
    return {
        f"{package}/{pattern}": {path for path in (ROOT / package).glob(pattern) if path.is_file()}
        for package, patterns in TOOL["package-data"].items()
        for pattern in patterns
    }


def test_every_data_file_is_installed_with_its_package() -> None:
    data = {path for path in FILES if path.suffix != ".py" and CORPUS not in path.parents}
    missing = data - set().union(*_declared().values())
    assert not sorted(map(named, missing)), "add these to package-data in pyproject.toml"


def test_every_pattern_of_the_package_data_finds_a_file() -> None:
    assert not [pattern for pattern, found in _declared().items() if not found]


def test_every_directory_of_code_is_a_package() -> None:
    folders = {path.parent for path in FILES if path.suffix == ".py"}
    assert not [named(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()]
