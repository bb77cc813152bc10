"""What is installed is complete: every data file beside the code is declared, and every declaration finds one."""

import tomllib
from pathlib import Path

from tests.checkout import ROOT

TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
CODE = frozenset({".py", ".pyc"})


def _declared() -> dict[str, set[Path]]:
    """Per pattern, the files that it takes into the wheel."""
    return {
        f"{package}/{pattern}": {path for path in (ROOT / package).glob(pattern) if path.is_file()}
        for package, patterns in TOOL["package-data"].items()
        for pattern in patterns
    }


def test_every_data_file_is_installed_with_its_package() -> None:
    packages = ("topology", "serving", "workers")
    data = {path for package in packages for path in (ROOT / package).rglob("*") if path.is_file()}
    missing = {path for path in data if path.suffix not in CODE} - set().union(*_declared().values())
    assert not sorted(str(path.relative_to(ROOT)) for path in missing), "add these to package-data in pyproject.toml"


def test_every_pattern_of_the_package_data_finds_a_file() -> None:
    assert not [pattern for pattern, found in _declared().items() if not found]


def test_every_directory_of_code_is_a_package() -> None:
    folders = {path.parent for package in ("topology", "serving", "workers") for path in (ROOT / package).rglob("*.py")}
    assert not [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()]
