"""Train the embedded model: `python -m serving.training.train --data DIR --out serving/guards/models/guard.npz`.

The same data, seed and library versions give the same file. Prints counts and figures, never a row's text.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from serving.guards.linear import MODEL_FILE, Head, quantise, save, sigmoid
from serving.text.features import Sparse, features, windows
from serving.training.corpus import HEADS, SOURCES, Row, own_rows, rows_of
from serving.training.fitting import Vector, calibrate, fit, stacked

REGULARISATION = 1e-5
HELD_OUT_SHARE = 0.15
HELD_OUT_MIN = 3
NEGATIVES_MAX = 16_000
POSITIVE_SHARE = 0.3
"""The share of the loss that positives have whatever their number, so that rare categories are learnt."""
FALSE_ALARMS_HIGH = 0.002
FALSE_ALARMS_LOW = 0.006
"""The shares of held-out negatives that may reach the upper and the lower threshold."""


class SourceCount(Struct, frozen=True, kw_only=True):
    """The number of rows that a source gave. `licence`, `upstream` and `commit` are written to the model card."""

    name: str
    licence: str
    upstream: str
    commit: str
    rows: int


class Corpus(NamedTuple):
    """The rows, their features, and their sources."""

    rows: Sequence[Row]
    sparse: Sequence[Sparse]
    sources: tuple[SourceCount, ...]


class TooFewRowsError(ValueError):
    """An error for a head without enough rows of both kinds; `args` is (head, positives, negatives)."""


def collect(folder: Path, out: TextIO) -> Corpus:
    """Collect all rows of all sources in `folder`, the first window of each, and the project's own."""
    rows: list[Row] = []
    counts: list[SourceCount] = []
    for source in SOURCES:
        found = rows_of(source, folder)
        rows.extend(found)
        counts.append(
            SourceCount(
                name=source.name,
                licence=source.licence,
                upstream=source.upstream,
                commit=source.commit,
                rows=len(found),
            )
        )
        print(f"{source.name:28} {len(found):6} rows  {source.licence}", file=out)
    own = own_rows()
    print(f"{'written for this project':28} {len(own):6} rows", file=out)
    rows.extend(own)
    return Corpus(rows, [features(windows(row.text)[0]) for row in rows], tuple(counts))


def train_heads(
    rows: Sequence[Row], sparse: Sequence[Sparse], *, seed: int, out: TextIO, names: Sequence[str] = HEADS
) -> list[Head]:
    """Train one head per name, each on the rows that are labelled for it. Raises TooFewRowsError."""
    heads: list[Head] = []
    for number, name in enumerate(names):
        began = time.monotonic()
        chosen = _chosen(rows, name, np.random.default_rng((seed, number)))
        heads.append(_train_head(name, [rows[i].labels[name] for i in chosen], [sparse[i] for i in chosen], seed))
        positives = sum(rows[i].labels[name] for i in chosen)
        seconds = time.monotonic() - began
        print(f"{name:28} {positives:6} of {len(chosen):6} rows  {seconds:5.1f} s", file=out, flush=True)
    return heads


def _chosen(rows: Sequence[Row], name: str, random: np.random.Generator) -> list[int]:
    """Choose every row that has the head's label, but at most `NEGATIVES_MAX` negatives, in order."""
    positives = [index for index, row in enumerate(rows) if row.labels.get(name) is True]
    negatives = [index for index, row in enumerate(rows) if row.labels.get(name) is False]
    if len(negatives) > NEGATIVES_MAX:
        picked = random.choice(len(negatives), NEGATIVES_MAX, replace=False)
        negatives = [negatives[index] for index in picked]
    return sorted(positives + negatives)


def _train_head(name: str, labels: Sequence[bool], sparse: Sequence[Sparse], seed: int) -> Head:
    targets = np.array(labels, dtype=np.bool_)
    held = _held_out(targets, np.random.default_rng((seed, len(labels))))
    for part in (held, ~held):
        positives = int(targets[part].sum())
        if positives < HELD_OUT_MIN or int(part.sum()) - positives < HELD_OUT_MIN:
            raise TooFewRowsError(name, int(targets.sum()), int((~targets).sum()))
    fitted = stacked([row for row, out in zip(sparse, held, strict=True) if not out])
    weights, _ = fit(fitted, targets[~held], _shares(targets[~held]), REGULARISATION)
    steps, scale = quantise(weights)
    margins = stacked([row for row, out in zip(sparse, held, strict=True) if out]).margins(
        steps.astype(np.float64) * scale
    )
    slope, offset = calibrate(margins, targets[held], np.ones(int(held.sum())))
    negatives = sigmoid(margins[~targets[held]] * slope + offset)
    high = float(np.quantile(negatives, 1 - FALSE_ALARMS_HIGH))
    low = float(np.quantile(negatives, 1 - FALSE_ALARMS_LOW))
    return Head(name=name, weights=steps, scale=scale, slope=slope, offset=offset, low=low, high=high)


def _held_out(targets: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a share of each kind to hold out for calibration and thresholds."""
    held = np.zeros(len(targets), dtype=np.bool_)
    for kind in (True, False):
        members = np.flatnonzero(targets == kind)
        count = min(len(members), max(HELD_OUT_MIN, round(HELD_OUT_SHARE * len(members))))
        held[random.choice(members, count, replace=False)] = True
    return held


def _shares(targets: NDArray[np.bool_]) -> Vector:
    positive = POSITIVE_SHARE / max(1, int(targets.sum()))
    negative = (1 - POSITIVE_SHARE) / max(1, int((~targets).sum()))
    return np.where(targets, positive, negative)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when the file is written, 2 when the data do not suffice."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.training.train", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with <source>.train.jsonl.gz files")
    parser.add_argument("--out", type=Path, default=MODEL_FILE, help="weights file to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of sampling and held-out rows")
    given = parser.parse_args(arguments)
    corpus = collect(given.data, sys.stdout)
    try:
        heads = train_heads(corpus.rows, corpus.sparse, seed=given.seed, out=sys.stdout)
    except TooFewRowsError as exc:
        head, positives, negatives = exc.args
        print(f"{head}: {positives} rows say yes and {negatives} say no: not enough", file=sys.stderr)
        return 2
    version = save(heads, given.out)
    print(f"{given.out}: {given.out.stat().st_size} bytes, version {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
