"""Light heads: one linear layer on features of texts, fitted by the losses of the encoder's training; their figures."""

from collections.abc import Callable

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from serving.evaluation.examples import UNKNOWN
from serving.guards.encoder.heads import HEADS, TEXT_WIDTH, Head, Kind
from serving.guards.encoder.requests import RISKS
from serving.training.encoder.schedule import head_loss

ITERATIONS_MAX = 40
HISTORY = 10
DECAY = 1e-4

Floats = NDArray[np.float32]


def fitted(features: Tensor, targets: Tensor) -> Tensor:
    """Return the weights (features and a last one of 1, TEXT_WIDTH) that fit targets; deterministic.

    `features` may be sparse. Heads without a target in any row keep weights of zero.
    """
    ones = torch.ones(len(targets))
    weight = torch.zeros(features.shape[1], TEXT_WIDTH, requires_grad=True)
    bias = torch.zeros(TEXT_WIDTH, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS_MAX, history_size=HISTORY, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = features @ weight + bias
        total = DECAY * weight.square().sum()
        for head in HEADS.values():
            part = head_loss(head.kind, logits[:, head.start : head.end], targets[:, head.start : head.end], ones)
            if part is not None:
                total = total + part
        total.backward()
        return total

    optimizer.step(closure)
    return torch.cat([weight, bias[None]]).detach()


def logits_of(features: Tensor, weights: Tensor) -> Floats:
    """Return the logits of each text."""
    return (features @ weights[:-1] + weights[-1]).numpy()


class Figure(Struct, frozen=True, kw_only=True):
    """A figure of one head. `is_ranked`: an area under the curve of a score, else the share of rows that are right.

    `of` returns for each row a score and whether it is so, or whether it is right and one; NaN where it does not count.
    """

    name: str
    of: Callable[[Floats, Floats], tuple[Floats, Floats]]
    kind: Kind
    is_ranked: bool = False

    def value(self, logits: Floats, targets: Floats) -> tuple[float, int]:
        """Return the figure over some rows, and how many count; NaN if none does, or if all are alike."""
        scores, truths = self.of(logits, targets)
        counted = ~np.isnan(truths)
        scores, truths = scores[counted], truths[counted]
        if not self.is_ranked:
            return (float(scores.mean()) if len(scores) else float("nan")), len(scores)
        return area(scores, truths > 0), len(scores)


def area(scores: Floats, truths: NDArray[np.bool_]) -> float:
    """Return the area under the curve of scores: the chance that a true one is above a false one; NaN without both."""
    true, false = np.sort(scores[truths]), np.sort(scores[~truths])
    if not len(true) or not len(false):
        return float("nan")
    below = np.searchsorted(false, true, "left") + np.searchsorted(false, true, "right")
    return float(below.sum() / (2 * len(true) * len(false)))


def _choice(head: Head) -> Figure:
    def of(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
        mine, wanted = logits[:, head.start : head.end], targets[:, head.start : head.end]
        right = (mine.argmax(1) == wanted.argmax(1)).astype(np.float32)
        return right, np.where(wanted[:, 0] == UNKNOWN, np.nan, 1.0).astype(np.float32)

    return Figure(name=f"{head.name} right", of=of, kind=head.of)


def _likeliest(head: Head) -> Figure:
    def of(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
        mine, wanted = logits[:, head.start : head.end], targets[:, head.start : head.end]
        right = wanted[np.arange(len(wanted)), mine.argmax(1)] != 0  # what is also right is unknown
        return right.astype(np.float32), np.where((wanted == 1).any(1), 1.0, np.nan).astype(np.float32)

    return Figure(name=f"{head.name} right, where there is one", of=of, kind=head.of)


def _said(head: Head) -> Figure:
    def of(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
        wanted = targets[:, head.start]
        return logits[:, head.start], np.where(wanted == UNKNOWN, np.nan, wanted).astype(np.float32)

    return Figure(name=f"{head.name}, AUROC", of=of, kind=head.of, is_ranked=True)


def _values(name: str, head: Head, values: tuple[str, ...]) -> Figure:
    places = [head.values.index(value) for value in values]

    def of(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
        mine, wanted = logits[:, head.start : head.end], targets[:, head.start : head.end]
        shares = functional.softmax(torch.from_numpy(np.ascontiguousarray(mine)), 1).numpy()
        truth = np.where(wanted[:, 0] == UNKNOWN, np.nan, wanted[:, places].max(1))
        return shares[:, places].sum(1), truth.astype(np.float32)

    return Figure(name=f"{name}, AUROC", of=of, kind=head.of, is_ranked=True)


MODE = _choice(HEADS["mode"])
CATEGORY = _likeliest(HEADS["category"])
AT_RISK = _values("at risk", HEADS["vulnerability"], tuple(RISKS))
FIGURES = (
    MODE,
    CATEGORY,
    AT_RISK,
    _values("malicious", HEADS["intent"], ("malicious",)),
    _choice(HEADS["intent"]),
    _choice(HEADS["harm"]),
    _choice(HEADS["asked"]),
    _said(HEADS["harmful"]),
    _said(HEADS["barred"]),
    _likeliest(HEADS["reply_category"]),
    _choice(HEADS["detail"]),
    _choice(HEADS["declines"]),
    _said(HEADS["bare_refusal"]),
    _said(HEADS["unfair"]),
)
