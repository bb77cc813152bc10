"""Processes by their parent and what they run (Linux)."""

from contextlib import suppress
from pathlib import Path


def children_of(pid: int, module: str) -> list[int]:
    """Children of any thread of a process that have `module` on their command line."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread, or a child, that has ended meanwhile
            children = [int(child) for child in path.read_text(encoding="ascii").split()]
            found += [child for child in children if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes()]
    return found
