"""The training loop: lower layers once, then the upper ones and the heads, by masked losses over all heads.

Deterministic: the same rows, seed, thread count and library versions give the same weights. A checkpoint after every
`CHECKPOINT_STEPS` lets an ended run go on where it was.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from msgspec import Struct, structs
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from serving.evaluation.examples import UNKNOWN, Example
from serving.guards.encoder.heads import HEADS
from serving.guards.encoder.texts import padded, windows_of
from serving.training.encoder.network import Network

CHECKPOINT_STEPS = 250
REPORT_STEPS = 100
WARM_UP_STEPS = 100
CLIP = 1.0
WEIGHT_DECAY = 0.01
LENGTH_NOISE = 6.0
BATCH_MAX = 64

HEAD_WEIGHTS = {
    "harmful": 2.0,
    "category": 3.0,
    "vulnerability": 2.0,
    "mode": 1.5,
    "intent": 2.5,
    "barred": 2.0,
    "unfair": 1.5,
    "injection": 3.0,
    "reply_category": 2.0,
    "context": 0.5,
    "harm": 0.7,
}
TOKEN_WEIGHT = 3.0
TOKEN_POSITIVE_WEIGHT = 3.0
"""The weight of a token inside an injected order, of which there are few."""
POSITIVE_WEIGHT = 4.0
"""The weight of a present value of a head that has several, of which most are absent."""


class Plan(Struct, frozen=True, kw_only=True):
    """How to train. `tokens_max` bounds a window, `batch_tokens` a padded batch; rates are peaks.

    Rates fall with the steps, so that a run repeats itself; `minutes` only ends one that takes too long.
    """

    minutes: float
    epochs: float = 4.0
    tokens_max: int = 160
    batch_tokens: int = 2048
    rate: float = 2e-4
    head_rate: float = 1e-3
    threads: int = 2
    seed: int = 7


class Encoded(NamedTuple):
    """The examples as arrays: ids of the first window, targets, token targets or None, weights."""

    ids: list[NDArray[np.int64]]
    targets: NDArray[np.float32]
    tokens: list[NDArray[np.float32] | None]
    weights: NDArray[np.float32]


def encoded(tokenizer: Tokenizer, examples: Sequence[Example], tokens_max: int) -> Encoded:
    """Return the examples as arrays; of a long text the first window, of a long document every one."""
    ids: list[NDArray[np.int64]] = []
    targets: list[NDArray[np.float32]] = []
    tokens: list[NDArray[np.float32] | None] = []
    weights: list[float] = []
    for example in examples:
        windows = windows_of(tokenizer, example.given, tokens_max)
        for window in windows if example.spans is not None else windows[:1]:
            ids.append(window.ids)
            weights.append(example.weight)
            marks = None
            target = example.targets
            if example.spans is not None:
                marks = np.full(len(window.ids), UNKNOWN, np.float32)
                inside = [
                    float(any(start < end_ and start_ < end for start_, end_ in example.spans))
                    for start, end in window.places
                ]
                marks[window.first : window.first + len(inside)] = inside
                target = target.copy()
                target[HEADS["injection"].start] = float(sum(inside) > 2)
            targets.append(target)
            tokens.append(marks)
    return Encoded(ids, np.stack(targets), tokens, np.array(weights, np.float32))


def train(network: Network, data: Encoded, plan: Plan, checkpoint: Path, say: Callable[[str], None]) -> None:
    """Train the network in place, within the plan's minutes."""
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    random = np.random.default_rng(plan.seed)
    started_s = time.monotonic()
    states = _lower_states(network, data.ids, plan, say)
    say(f"lower layers: {time.monotonic() - started_s:.0f} s")
    optimizer, trained = _optimizer(network, plan)
    step, total = 0, int(len(_batches(data.ids, plan, None)) * plan.epochs)
    if checkpoint.exists():
        step = _resume(checkpoint, network, optimizer)
        say(f"goes on at step {step}")
    network.train()
    began_s, began_step = time.monotonic(), step
    smooth: dict[str, float] = {}
    for number, batch in enumerate(_stream(data.ids, plan, random)):
        if number < began_step:
            continue
        if step >= total or time.monotonic() - began_s > 60 * plan.minutes:
            break
        scale = min(1.0, (step + 1) / WARM_UP_STEPS) * max(0.02, 1 - step / total)
        for group, peak in zip(optimizer.param_groups, (plan.rate, plan.rate, plan.head_rate), strict=True):
            group["lr"] = peak * scale
        loss = _loss(network, states, data, batch, smooth)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        step += 1
        if step % REPORT_STEPS == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in smooth.items())
            say(f"step {step}/{total}, {time.monotonic() - began_s:.0f} s: {shown}")
        if step % CHECKPOINT_STEPS == 0:
            torch.save({"step": step, "network": network.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint)
    network.eval()
    say(f"ended at step {step} of {total}, {time.monotonic() - started_s:.0f} s")


def _half() -> torch.autocast:
    """Return the context in which matrices are multiplied as bfloat16, nearly twice as fast where the CPU has it."""
    return torch.autocast("cpu", torch.bfloat16)


def _lower_states(
    network: Network, ids: Sequence[NDArray[np.int64]], plan: Plan, say: Callable[[str], None]
) -> list[Tensor]:
    """Return the frozen layers' states of each example, as 16-bit floats."""
    states: list[Tensor] = [torch.empty(0)] * len(ids)
    network.eval()
    # Passes without gradients need half of the memory.
    batches = _batches(ids, structs.replace(plan, batch_tokens=2 * plan.batch_tokens), None)
    with torch.inference_mode(), _half():
        for number, batch in enumerate(batches):
            given, mask = padded([ids[at] for at in batch])
            found = network.lower(torch.from_numpy(given), torch.from_numpy(mask)).to(torch.float16)
            for row, at in enumerate(batch):
                states[at] = found[row, : len(ids[at])].clone()
            if number % 200 == 0:
                say(f"lower layers: batch {number} of {len(batches)}")
    return states


def _optimizer(network: Network, plan: Plan) -> tuple[torch.optim.Optimizer, list[nn.Parameter]]:
    upper = [parameter for layer in list(network.layers)[network.frozen :] for parameter in layer.parameters()]
    heads = [*network.text_head.parameters(), *network.token_head.parameters()]
    decayed = [parameter for parameter in upper if parameter.dim() > 1]
    plain = [parameter for parameter in upper if parameter.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": plain, "weight_decay": 0.0},
        {"params": heads, "weight_decay": WEIGHT_DECAY},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98)), [*upper, *heads]


def _resume(checkpoint: Path, network: Network, optimizer: torch.optim.Optimizer) -> int:
    held = torch.load(checkpoint, weights_only=True)
    network.load_state_dict(held["network"])
    optimizer.load_state_dict(held["optimizer"])
    return int(held["step"])


def _stream(ids: Sequence[NDArray[np.int64]], plan: Plan, random: np.random.Generator) -> Iterator[list[int]]:
    while True:
        yield from _batches(ids, plan, random)


def _batches(ids: Sequence[NDArray[np.int64]], plan: Plan, random: np.random.Generator | None) -> list[list[int]]:
    """Return batches of examples of like length, shuffled if `random` is given."""
    lengths = np.array([len(each) for each in ids], np.float64)
    noise = 0.0 if random is None else random.uniform(0, LENGTH_NOISE, len(ids))
    batches: list[list[int]] = [[]]
    longest = 0
    for at in np.argsort(lengths + noise, kind="stable").tolist():
        longest = max(longest, len(ids[at]))
        if batches[-1] and (longest * (len(batches[-1]) + 1) > plan.batch_tokens or len(batches[-1]) >= BATCH_MAX):
            batches.append([])
            longest = len(ids[at])
        batches[-1].append(at)
    if random is not None:
        order = random.permutation(len(batches))
        batches = [batches[at] for at in order]
    return batches


def _loss(
    network: Network, states: Sequence[Tensor], data: Encoded, batch: Sequence[int], smooth: dict[str, float]
) -> Tensor:
    longest = max(len(states[at]) for at in batch)
    given = torch.zeros(len(batch), longest, states[batch[0]].shape[1])
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, at in enumerate(batch):
        given[row, : len(states[at])], mask[row, : len(states[at])] = states[at].float(), 1
    with _half():
        logits, token_logits = (each.float() for each in network.upper(given, mask))
    targets = torch.from_numpy(data.targets[list(batch)])
    weights = torch.from_numpy(data.weights[list(batch)])
    total = torch.zeros(())
    for head in HEADS.values():
        part = head_loss(head.kind, logits[:, head.start : head.end], targets[:, head.start : head.end], weights)
        if part is not None:
            total = total + HEAD_WEIGHTS.get(head.name, 1.0) * part
            if head.name in HEAD_WEIGHTS:
                smooth[head.name] = 0.97 * smooth.get(head.name, part.item()) + 0.03 * part.item()
    return total + TOKEN_WEIGHT * _token_loss(token_logits, data, batch, longest)


def head_loss(kind: str, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor | None:
    """Return the loss of one head over the examples that have a target for it; None if none has."""
    if kind == "choice":
        known = targets[:, 0] != UNKNOWN
        if not known.any():
            return None
        each = functional.cross_entropy(logits[known], targets[known], reduction="none")
        return (each * weights[known]).sum() / len(weights)
    known = (targets != UNKNOWN).to(logits.dtype)
    if not known.any():
        return None
    positive = torch.full((logits.shape[1],), POSITIVE_WEIGHT if logits.shape[1] > 1 else 1.0)
    each = functional.binary_cross_entropy_with_logits(
        logits, targets.clamp(min=0), reduction="none", pos_weight=positive
    )
    return (each * known * weights[:, None]).sum() / len(weights) / max(1.0, logits.shape[1] / 8)


def _token_loss(logits: Tensor, data: Encoded, batch: Sequence[int], longest: int) -> Tensor:
    rows = [row for row, at in enumerate(batch) if data.tokens[at] is not None]
    if not rows:
        return torch.zeros(())
    targets = torch.full((len(rows), longest), UNKNOWN)
    for place, row in enumerate(rows):
        marks = data.tokens[batch[row]]
        assert marks is not None
        targets[place, : len(marks)] = torch.from_numpy(marks)
    known = targets != UNKNOWN
    return functional.binary_cross_entropy_with_logits(
        logits[rows, :, 0][known], targets[known], pos_weight=torch.tensor(TOKEN_POSITIVE_WEIGHT)
    )
