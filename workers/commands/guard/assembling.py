"""The guards of some settings, as a worker would build them, and the rows they are measured on."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from serving.evaluation.packaged import StageCheck
from serving.evaluation.rows import Row, RowError, read_rows
from serving.evaluation.running import Guards
from serving.guards.encoder.model import Encoder
from topology.contract.names import StageName
from topology.policy.bundle import PolicyBundle
from topology.telemetry.instruments import Instruments
from workers.commands.console.usage_error import WrongUse
from workers.process.clock import SystemClock
from workers.settings import Settings
from workers.stages.building import build_stage
from workers.stages.embedded import encoder_of
from workers.stages.language_models import ModelSet

CHECKED = (StageName.CLASSIFICATION, StageName.BIAS, StageName.LOGGING)
KINDS = ("requests", "replies", "documents", "conversations")


class Assembly:
    """The guards that settings ask for. `aclose` runs on the event loop that used them."""

    def __init__(self, settings: Settings, bundle: PolicyBundle) -> None:
        self._models = ModelSet(settings, SystemClock(), Instruments.none())
        stages = [build_stage(settings, name.value) for name in CHECKED]
        self.guards = Guards(
            labeler=self._models.labeler,
            checks=(*map(StageCheck, stages), *self._models.checks),
            bundle=bundle,
        )
        self.encoder = encoder_in(settings)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._models.aclose()


def encoder_in(settings: Settings) -> Encoder | None:
    """Return the encoder that settings name; None if they name none."""
    guard = settings.guard
    return encoder_of(guard.encoder_path, guard.encoder_threads) if guard.encoder_path else None


def rows_given(arguments: argparse.Namespace) -> list[Row]:
    """Return the rows of all files named. Raises WrongUse if there is none, or one that is no row."""
    named = [(f"--{kind}", path) for kind in KINDS for path in getattr(arguments, kind) or ()]
    authors = set(filter(None, (arguments.authors or "").split(",")))
    rows = [row for option, path in named for row in _rows_in(option, path) if not authors or row.author in authors]
    if not rows:
        raise WrongUse("--requests", "", f"no row: give one or more files with --{', --'.join(KINDS)}")
    return rows


def _rows_in(option: str, path: Path) -> Iterator[Row]:
    for file in _files(option, path):
        try:
            yield from read_rows(file)
        except RowError as error:
            name, line, what = error.args
            raise WrongUse(option, str(path), f"{name}, line {line}: {what}") from None


def _files(option: str, path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    files: Iterable[Path] = sorted(path.glob("*.jsonl"))
    found = list(files)
    if not found:
        raise WrongUse(option, str(path), "no file *.jsonl in it")
    return found
