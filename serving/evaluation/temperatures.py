"""One temperature for each head of the encoder: the one under which known labels are likeliest. Pure.

Temperature scaling after Guo et al. 2017: logits are divided by it, so it changes no order, only how sure a head is.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.reliability import Reliability, reliability
from serving.guards.encoder.heads import HEADS, Head

TEMPERATURES = np.geomspace(0.5, 4.0, 43)
ROWS_MIN = 20
"""A head with fewer labelled rows keeps a temperature of 1."""
TINY = 1e-6

Said = Mapping[str, NDArray[np.float32]]
"""What the encoder says of one text, by head."""

Known = tuple[Said, NDArray[np.float32]]
"""What was said of a text, and the targets of all heads, negative where nothing is known."""


def fit_temperatures(known: Sequence[Known]) -> dict[str, float]:
    """Return the temperature of each head that has enough labelled rows."""
    found: dict[str, float] = {}
    for head in HEADS.values():
        said, targets = _of(head, known)
        if len(said) >= ROWS_MIN:
            losses = [_loss(scaled(head, said, each), targets) for each in TEMPERATURES]
            found[head.name] = round(float(TEMPERATURES[int(np.argmin(losses))]), 3)
    return found


def head_reliability(known: Sequence[Known], temperatures: Mapping[str, float]) -> dict[str, Reliability]:
    """Return how each head is calibrated under given temperatures: every value of it that is known is a statement."""
    found: dict[str, Reliability] = {}
    for head in HEADS.values():
        said, targets = _of(head, known)
        if len(said) >= ROWS_MIN:
            probabilities = scaled(head, said, temperatures.get(head.name, 1.0))
            is_known = targets >= 0
            found[head.name] = reliability(probabilities[is_known], targets[is_known])
    return found


def scaled(head: Head, said: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return probabilities (rows, values) as they would be under a temperature, from those under 1."""
    clipped = np.clip(said, TINY, 1 - TINY)
    if head.kind == "several":
        logits = (np.log(clipped) - np.log1p(-clipped)) / temperature
        return np.asarray(1 / (1 + np.exp(-logits)), np.float64)
    risen = clipped ** (1 / temperature)
    return np.asarray(risen / risen.sum(1, keepdims=True), np.float64)


def _of(head: Head, known: Sequence[Known]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = [
        (said[head.name], targets[head.start : head.end])
        for said, targets in known
        if head.name in said and (targets[head.start : head.end] >= 0).any()
    ]
    if not rows:
        return np.zeros((0, len(head.values))), np.zeros((0, len(head.values)))
    return np.stack([each for each, _ in rows]).astype(float), np.stack([each for _, each in rows]).astype(float)


def _loss(probabilities: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    is_known = targets >= 0
    given = np.where(targets > 0, probabilities, 1 - probabilities)[is_known]
    return float(-np.log(np.clip(given, TINY, 1)).mean())
