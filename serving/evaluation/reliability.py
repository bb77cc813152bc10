"""Whether probabilities mean what they say: expected calibration error and the bins of a reliability diagram. Pure."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

BINS = 10


class Bin(Struct, frozen=True, kw_only=True):
    """The statements of one tenth of probability: their mean probability, the share that is true, their count."""

    said: float
    true: float
    count: int


class Reliability(Struct, frozen=True, kw_only=True):
    """The calibration of one head: expected calibration error over ten bins (Guo et al. 2017), and the bins."""

    error: float
    bins: tuple[Bin, ...]
    rows: int


def reliability(probabilities: ArrayLike, truths: ArrayLike) -> Reliability:
    """Return the calibration of probabilities in [0, 1] against truths, of equal length. Raises ValueError if empty."""
    said, true = np.asarray(probabilities, float), np.asarray(truths, float)
    if not len(said):
        raise ValueError("no statement")
    places = np.minimum((said * BINS).astype(int), BINS - 1)
    bins: list[Bin] = []
    for place in range(BINS):
        mine = places == place
        if mine.any():
            bins.append(Bin(said=float(said[mine].mean()), true=float(true[mine].mean()), count=int(mine.sum())))
    error = sum(each.count * abs(each.said - each.true) for each in bins) / len(said)
    return Reliability(error=error, bins=tuple(bins), rows=len(said))


def diagram(name: str, found: Reliability, width: int = 40) -> Sequence[str]:
    """Return a reliability diagram in text: for each bin a bar to the true share and a mark at what was said."""
    lines = [f"{name}: expected calibration error {found.error:.3f}, {found.rows} rows"]
    for each in found.bins:
        bar = list("#" * round(each.true * width) + " " * (width - round(each.true * width)) + " ")
        bar[round(each.said * width)] = "|"
        lines.append(f"  {each.said:.2f} {''.join(bar)} {each.true:.2f} of {each.count}")
    return lines
