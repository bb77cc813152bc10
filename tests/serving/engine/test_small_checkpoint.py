"""The demo's small model: a GGUF file of our own is read back, and becomes a checkpoint with the right parts."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from serving.engine.gguf import ALIGNMENT, Gguf, GgufError, read_gguf
from serving.engine.small_checkpoint import build_small_checkpoint, write_checkpoint
from topology.contract.errors import SettingsError

F32, Q4_1, Q8_0 = 0, 3, 8
HEADS, HIDDEN = 2, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def field(value: Any) -> bytes:
    """A value with its type before it."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(item) for item in value)
        case _:
            return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)


def gguf(metadata: dict[str, Any], tensors: dict[str, tuple[tuple[int, ...], int, bytes]]) -> bytes:
    """A file. Shapes have the slowest dimension first, as numpy has it."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(name) + field(value) for name, value in metadata.items())
    body = b""
    for name, (shape, kind, raw) in tensors.items():
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += text(name) + dimensions + struct.pack("<IQ", kind, len(body))
        body += raw + b"\0" * (-len(raw) % ALIGNMENT)
    return head + b"\0" * (-len(head) % ALIGNMENT) + body


def half(value: float) -> bytes:
    return np.float16(value).tobytes()


Q4_BLOCK = half(0.5) + half(-1.0) + bytes(low | (15 - low) << 4 for low in range(16))
"""Low nibbles 0 to 15, then high nibbles 15 to 0; scale 0.5, minimum -1."""
Q8_BLOCK = half(0.25) + np.arange(-16, 16, dtype=np.int8).tobytes()


def test_each_kind_of_tensor_is_read_as_it_was_meant() -> None:
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    raw = gguf(
        {"a": "b"},
        {"f": ((2, 3), F32, whole.tobytes()), "q4": ((1, 32), Q4_1, Q4_BLOCK), "q8": ((1, 32), Q8_0, Q8_BLOCK)},
    )
    found = read_gguf(raw)
    np.testing.assert_array_equal(found.tensors["f"], whole)
    nibbles = [*range(16), *range(15, -1, -1)]
    np.testing.assert_array_equal(found.tensors["q4"], [[0.5 * nibble - 1.0 for nibble in nibbles]])
    np.testing.assert_array_equal(found.tensors["q8"], [[0.25 * number for number in range(-16, 16)]])


def test_metadata_of_every_type_that_a_model_has_is_read() -> None:
    metadata = {"number": 7, "share": 0.5, "flag": True, "word": "ü", "words": ["a", "b"], "kinds": [3, 1]}
    assert read_gguf(gguf(metadata, {})).metadata == metadata


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"GGML" + bytes(20), "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 2, 0, 0), "version 2"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 5), "cut off"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "entries"),
        (gguf({}, {"t": ((1, 32), 12, b"")}), "type 12"),
        (gguf({}, {"t": ((1, 32), Q8_0, Q8_BLOCK)})[:-32], "cut off"),
    ],
)
def test_what_is_no_such_file_is_refused(raw: bytes, complaint: str) -> None:
    with pytest.raises(GgufError, match=complaint):
        read_gguf(raw)


def model() -> Gguf:
    """A model of one layer, whose query weights are numbered row by row as GGUF interleaves them."""
    letters = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "H", "i", "Hi"]
    metadata = {
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": HIDDEN,
        "llama.block_count": 1,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": 1,
        "llama.context_length": 64,
        "llama.rope.freq_base": 100000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": len(letters),
        "tokenizer.ggml.tokens": letters,
        "tokenizer.ggml.token_type": [3, 3, 3, 1, 1, 1],
        "tokenizer.ggml.merges": ["H i"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": "{{ messages }}",
    }
    rows = np.repeat(np.arange(HIDDEN, dtype=np.float32)[:, None], HIDDEN, axis=1)
    return Gguf(metadata=metadata, tensors={"token_embd.weight": rows[:6], "blk.0.attn_q.weight": rows})


def test_a_checkpoint_has_configuration_tokenizer_and_weights_in_the_order_of_transformers(tmp_path: Path) -> None:
    write_checkpoint(model(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert set(weights) == {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"}
    # Each head's even rows come first, then its odd ones: halves that rotate together.
    assert weights["model.layers.0.self_attn.q_proj.weight"][:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["hidden_size"], config["num_key_value_heads"], config["eos_token_id"]) == (HIDDEN, 1, 2)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("<|im_start|>Hi").ids == [1, 5]
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"


def test_without_the_wheel_it_says_what_fetches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="make demo"):
        build_small_checkpoint(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()
