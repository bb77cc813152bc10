"""An encoder of a few thousand weights: the real code on a network that nobody trained."""

import json
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from serving.guards.encoder.heads import HEADS_VERSION
from serving.training.encoder.base_weights import Base
from serving.training.encoder.export import write
from serving.training.encoder.network import Network

HIDDEN, LAYERS, HEAD_COUNT, INNER, PIECES = 32, 3, 4, 64, 220
LETTERS = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(ord("0"), ord("9") + 1), 0x4E2D, 0x2603)]


def spelt() -> dict[str, object]:
    """A published tokenizer in small: special pieces, letters, and pieces of two letters."""
    pairs = [f"▁{one}" for one in LETTERS] + [f"{one}{other}" for one in LETTERS[:12] for other in LETTERS[:12]]
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(piece, -float(place)) for place, piece in enumerate([*LETTERS, "▁", *pairs])]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocabulary[:PIECES]},
    }


def base() -> Base:
    random = np.random.default_rng(3)

    def noise(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.1, shape).astype(np.float32)

    tensors = {"embedding": noise(PIECES, HIDDEN), "positions": noise(512, HIDDEN)}
    ones, zeros = np.ones(HIDDEN, np.float32), np.zeros(HIDDEN, np.float32)
    tensors |= {"embedding_norm.weight": ones, "embedding_norm.bias": zeros}
    for number in range(LAYERS):
        at = f"layers.{number}"
        for name in ("query", "key", "value", "attention_out"):
            tensors |= {f"{at}.{name}.weight": noise(HIDDEN, HIDDEN), f"{at}.{name}.bias": noise(HIDDEN)}
        tensors |= {f"{at}.inner.weight": noise(INNER, HIDDEN), f"{at}.inner.bias": noise(INNER)}
        tensors |= {f"{at}.outer.weight": noise(HIDDEN, INNER), f"{at}.outer.bias": noise(HIDDEN)}
        for name in ("attention_norm", "norm"):
            tensors |= {f"{at}.{name}.weight": ones, f"{at}.{name}.bias": zeros}
    return Base(
        hidden=HIDDEN, layers=LAYERS, heads=HEAD_COUNT, inner=INNER, vocabulary=PIECES, epsilon=1e-12, tensors=tensors
    )


def network(frozen: int = 2) -> Network:
    torch.manual_seed(1)
    return Network(base(), torch.arange(PIECES), frozen).eval()


def write_encoder(folder: Path, trained: Network | None = None) -> Path:
    """Write graph, tokenizer and description of a network into a folder, and return it."""
    (folder / "tokenizer.json").write_text(json.dumps(spelt()), "utf-8")
    (folder / "encoder.json").write_bytes(msgspec.json.encode({"heads_version": HEADS_VERSION, "version": "tiny"}))
    write(trained or network(), HEAD_COUNT, 1e-12, folder / "encoder.onnx")
    return folder
