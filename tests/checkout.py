"""Where this checkout lies and which files belong to it, for tests that read them or start programs in it."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_BUILT = frozenset({"__pycache__", "build", "dist", "node_modules", "var"})
"""Folders that are made here and not versioned, as .gitignore says; hidden ones are left out but `.ci`."""


def files(*suffixes: str, below: str = "") -> Iterator[Path]:
    """Yield the project's own files below a folder, in order; with `suffixes` those that have one of them.

    It never enters `.venv` or what is built, which hold a hundred times as many files.
    """
    for folder, folders, names in os.walk(ROOT / below):
        folders[:] = sorted(name for name in folders if _is_own(name))
        yield from (Path(folder, name) for name in sorted(names) if not suffixes or Path(name).suffix in suffixes)


def named(path: Path) -> str:
    """Return the path as it is written in the repository."""
    return path.relative_to(ROOT).as_posix()


def _is_own(folder: str) -> bool:
    return folder == ".ci" or not (folder in _BUILT or folder.startswith(".") or folder.endswith(".egg-info"))
