"""The cost beside other guards: the turns, the quotients, the texts, and the checkpoint that the others read."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from bench.guard_cost import LENGTHS, Case, measured, ordinary_events, texts_of, write_base
from serving.guards.encoder.heads import Kind
from serving.guards.encoder.model import PACKAGED_FOLDER
from serving.guards.encoder.texts import Given, windows_of
from tests.plugins.tiny_encoder import HIDDEN, LAYERS, PIECES, base


def test_each_round_gives_one_quotient_and_the_first_only_warms_up() -> None:
    turns: list[str] = []

    def guard(name: str, costs: list[float]) -> list[tuple[float, float]]:
        turns.append(name)
        return [(cost, 2 * cost) for cost in costs]

    own, other = iter(([9.0], [0.001], [0.003])), iter(([1.0], [0.002], [0.004]))
    guards = {"own": lambda pairs: guard("own", next(own)), "LLM Guard": lambda pairs: guard("LLM Guard", next(other))}
    ratio, cpu, wall, *_ = measured(Case("a pass", "≤ .2", [[("text", None)]] * 3, guards), lambda text: None)
    assert turns == ["own", "LLM Guard"] * 3
    assert (ratio.name, ratio.runs, ratio.target) == ("a pass: own / LLM Guard", (0.5, 0.75), "≤ .2")
    assert (cpu.runs, wall.runs) == ((1.0, 3.0), (2.0, 6.0))


def test_texts_have_their_length_in_tokens_and_differ() -> None:
    tokenizer = Tokenizer.from_file(str(PACKAGED_FOLDER / "tokenizer.json"))
    for length in LENGTHS:
        texts = [text for text, _ in texts_of(length, 3)]
        lengths = [len(windows_of(tokenizer, Given(kind=Kind.REQUEST, text=text))[0].ids) for text in texts]
        assert all(length - 3 <= each <= length for each in lengths)
        assert len(set(texts)) == len(texts)


def test_ordinary_events_are_requests_with_replies_in_many_languages() -> None:
    events = ordinary_events()
    assert len(events) > 100
    assert all(request and reply for request, reply in events)


def test_the_base_encoder_is_written_as_others_read_it(tmp_path: Path) -> None:
    write_base(base(), b"{}", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert len(tensors) == 5 + 16 * LAYERS
    assert tensors["bert.embeddings.word_embeddings.weight"].shape == (PIECES, HIDDEN)
    wanted = base().tensors["layers.1.attention_norm.bias"]
    assert np.array_equal(tensors["bert.encoder.layer.1.attention.output.LayerNorm.bias"], wanted)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert (config["num_hidden_layers"], config["num_labels"], config["vocab_size"]) == (LAYERS, 2, PIECES)
