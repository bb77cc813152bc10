"""Shares with their 95 % intervals, by bootstrap over groups of rows that belong together. Pure."""

from collections import defaultdict

import numpy as np
from msgspec import Struct

RESAMPLES = 1_000
SEED = 20_261_130
QUANTILES = (0.025, 0.975)


class Share(Struct, frozen=True, kw_only=True):
    """A share of rows, the bounds of its 95 % interval, and the number of rows."""

    share: float
    low: float
    high: float
    rows: int


class Tally:
    """Hits and rows by group; twins are one group, because one is seldom independent of the other."""

    def __init__(self) -> None:
        self._groups: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, group: str, *, is_hit: bool) -> None:
        """Count one row."""
        self._groups[group][0] += is_hit
        self._groups[group][1] += 1

    def share(self) -> Share:
        """Return the share, with the interval of a percentile bootstrap over groups (Efron 1979).

        Without variation among the rows the bootstrap has none; then the bound is that of the rule of three.
        """
        counted = np.array(list(self._groups.values()), np.int64)
        hits, rows = int(counted[:, 0].sum()), int(counted[:, 1].sum())
        share = hits / rows
        if hits in {0, rows}:
            bound = min(1.0, 3 / rows)
            return Share(share=share, low=0.0 if not hits else 1 - bound, high=bound if not hits else 1.0, rows=rows)
        drawn = np.random.default_rng(SEED).integers(0, len(counted), (RESAMPLES, len(counted)))
        resampled = counted[drawn].sum(1)
        low, high = np.quantile(resampled[:, 0] / resampled[:, 1], QUANTILES)
        return Share(share=share, low=float(low), high=float(high), rows=rows)
