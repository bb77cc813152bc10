"""What a run has done so far, kept in its directory, so that one that was interrupted goes on."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.chaos.fleet import Drained, Returned
from tests.chaos.held import HeldBack

FILE = "progress.json"
INCARNATIONS_PER_SESSION = 100_000


class Progress(Struct, kw_only=True):
    """`session` counts how often the run was begun or continued, from 1; each has event ids of its own."""

    seed: int
    workers: int
    session_s: float
    rate_s: float
    port: int
    session: int = 0
    fault_number: int = 0
    """Of the next fault of the plan."""
    generation: int = 0
    """Of the last generation of workers that was started."""
    faults: dict[str, int] = {}
    elapsed_s: float = 0.0
    sent_count: int = 0
    acknowledged_count: int = 0
    answered_count: int = 0
    """As the running reader saw it; what came while no session was under way is not in it."""
    exits: dict[str, int] = {}
    drained: list[Drained] = []
    returned: list[Returned] = []
    bad_drains: list[str] = []
    fenced: list[str] = []
    held: dict[str, HeldBack] = {}
    frames: dict[str, int] = {}
    """Requests that were late, cut off or doubled, by kind and by what befell them."""
    broker_away_s: float = 0.0
    """The longest time from a kill of the broker until it answered again."""

    @property
    def fault_count(self) -> int:
        """Faults done."""
        return sum(self.faults.values())

    def first_incarnation(self) -> int:
        """Of this session's workers."""
        return self.session * INCARNATIONS_PER_SESSION


def load_progress(directory: Path) -> Progress | None:
    """None where no run was begun in `directory`."""
    path = directory / FILE
    return msgspec.json.decode(path.read_bytes(), type=Progress) if path.exists() else None


def save_progress(directory: Path, progress: Progress) -> None:
    """Replace what is there, whole."""
    path = directory / FILE
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(progress))
    os.replace(beside, path)  # noqa: PTH105 - atomic
