"""The fitting of one logistic head: L2-regularised, by L-BFGS on sparse rows, calibrated by Platt's method."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.guards.linear import sigmoid
from serving.text.features import BUCKETS, Sparse

ITERATIONS_MAX = 60
HISTORY = 8
HALVINGS_MAX = 20
SUFFICIENT_DECREASE = 1e-4
GRADIENT_TOLERANCE = 1e-4
PLATT_ITERATIONS_MAX = 100

Vector = NDArray[np.float64]


class Rows(NamedTuple):
    """Sparse rows, end to end: row i has the entries `starts[i]` to `starts[i + 1]`."""

    buckets: NDArray[np.int64]
    values: NDArray[np.float32]
    starts: NDArray[np.int64]

    def margins(self, weights: Vector) -> Vector:
        """Return the weighted sum of each row; 0 for a row without entries."""
        products = np.concatenate((weights[self.buckets] * self.values, [0.0]))
        sums = np.add.reduceat(products, self.starts[:-1])
        return np.where(np.diff(self.starts) > 0, sums, 0.0)

    def gradient(self, slopes: Vector) -> Vector:
        """Return the sum of the rows, each times its slope."""
        spread = np.repeat(slopes, np.diff(self.starts))
        return np.bincount(self.buckets, weights=spread * self.values, minlength=BUCKETS).astype(np.float64)


def stacked(rows: Sequence[Sparse]) -> Rows:
    """Concatenate the rows, in order."""
    lengths = [len(row.buckets) for row in rows]
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Rows(np.concatenate([row.buckets for row in rows]), np.concatenate([row.values for row in rows]), starts)


def fit(rows: Rows, targets: NDArray[np.bool_], weights: Vector, regularisation: float) -> tuple[Vector, float]:
    """Return the weights and intercept that minimise mean weighted log loss + regularisation / 2 * |weights|².

    `weights` are per row and sum to 1. Deterministic; stops after `ITERATIONS_MAX` steps at the latest.
    """
    signs = np.where(targets, 1.0, -1.0)

    def loss(point: Vector) -> tuple[float, Vector]:
        margins = signs * (rows.margins(point[:-1]) + point[-1])
        value = float(weights @ np.logaddexp(0.0, -margins)) + 0.5 * regularisation * float(point[:-1] @ point[:-1])
        slopes = -weights * signs * sigmoid(-margins)
        gradient = np.concatenate((rows.gradient(slopes) + regularisation * point[:-1], [slopes.sum()]))
        return value, gradient

    point = np.zeros(BUCKETS + 1)
    value, gradient = loss(point)
    steps: list[tuple[Vector, Vector]] = []
    for _ in range(ITERATIONS_MAX):
        if float(np.abs(gradient).max()) < GRADIENT_TOLERANCE * max(1e-6, float(weights.max())) * 10:
            break
        direction = _direction(gradient, steps)
        descent = float(gradient @ direction)
        length = 1.0 if steps else 1.0 / max(1e-12, float(np.linalg.norm(gradient)))
        for _ in range(HALVINGS_MAX):
            moved = point + length * direction
            moved_value, moved_gradient = loss(moved)
            if moved_value <= value + SUFFICIENT_DECREASE * length * descent:
                break
            length /= 2
        else:
            break
        if float((moved - point) @ (moved_gradient - gradient)) > 1e-14:
            steps = [*steps[-(HISTORY - 1) :], (moved - point, moved_gradient - gradient)]
        point, value, gradient = moved, moved_value, moved_gradient
    return point[:-1], float(point[-1])


def _direction(gradient: Vector, steps: list[tuple[Vector, Vector]]) -> Vector:
    """Compute the two-loop recursion: Nocedal and Wright, Numerical Optimization, algorithm 7.4."""
    direction = -gradient
    factors: list[float] = []
    for move, change in reversed(steps):
        factor = float(move @ direction) / float(move @ change)
        direction = direction - factor * change
        factors.append(factor)
    if steps:
        move, change = steps[-1]
        direction = direction * (float(move @ change) / float(change @ change))
    for (move, change), factor in zip(steps, reversed(factors), strict=True):
        direction = direction + move * (factor - float(change @ direction) / float(move @ change))
    return direction


def calibrate(margins: Vector, targets: NDArray[np.bool_], weights: Vector) -> tuple[float, float]:
    """Return slope and offset of Platt's sigmoid for held-out margins, with his smoothed targets.

    The slope is at least a small positive number, because calibration must not reverse a ranking.
    Source: Platt 1999, with the Newton steps of Lin, Lin and Weng 2007.
    """
    positive, negative = float(targets.sum()), float((~targets).sum())
    goal = np.where(targets, (positive + 1) / (positive + 2), 1 / (negative + 2))
    slope, offset = 1.0, 0.0
    for _ in range(PLATT_ITERATIONS_MAX):
        estimate = sigmoid(slope * margins + offset)
        error = weights * (estimate - goal)
        curve = weights * estimate * (1 - estimate)
        gradient = np.array([error @ margins, error.sum()])
        second = np.array([[curve @ margins**2, curve @ margins], [curve @ margins, curve.sum()]])
        step = np.linalg.solve(second + 1e-9 * np.eye(2), gradient)
        slope, offset = slope - float(np.clip(step[0], -1, 1)), offset - float(np.clip(step[1], -1, 1))
        if float(np.abs(step).max()) < 1e-8:
            break
    return max(slope, 1e-3), offset
