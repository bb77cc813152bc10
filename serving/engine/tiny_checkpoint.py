"""The tiny checkpoint for tests and the offline demo: real files, real tokenizer, random weights.

The text it generates is noise; it exercises everything around the text. Building needs `numpy`, `safetensors` and
`tokenizers`, which every vLLM install brings; neither torch nor transformers is loaded.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VOCABULARY = 512
HIDDEN = 64
LAYERS = 2
HEADS = 2
INTERMEDIATE = 128
POSITIONS_MAX = 8192
SEED = 20260101
_STANDARD_DEVIATION = 0.05

_PAD, _BEGIN, _END = "<pad>", "<turn>", "</turn>"
_SPECIAL = (_PAD, _BEGIN, _END)
_COMPLETE = "complete.json"
"""The file that is written last: a directory that holds it holds a whole checkpoint of that recipe."""

_RECIPE = {"recipe": 1, "vocabulary": VOCABULARY, "hidden": HIDDEN, "layers": LAYERS, "seed": SEED}

_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<turn>{{ message['role'] }}\n{{ message['content'] }}</turn>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)

_SENTENCES = (
    "The water in the lock rises slowly until both gates can be opened.",
    "A keeper writes down the level of the river every morning and every evening.",
    "When the storm came, the lower gate was closed and the boats waited upstream.",
    "Please explain how a canal lock works in a few short sentences.",
    "First fill the chamber, then open the upper gate, and then let the boat pass.",
    "I would like to know which tools are needed to repair a wooden door.",
    "The library opens at nine and closes at six, except on Sundays.",
    "She asked whether the train to the coast would still leave on time.",
    "Bread needs flour, water, salt, yeast, and a little patience.",
    "There are many ways to learn a language, and most of them involve talking to people.",
    "The answer depends on the question, on the reader, and on what is already known.",
    "If something is not clear, say so plainly and offer the next best thing.",
    "We counted thirty birds on the lake before the sun went down.",
    "A good summary keeps the main point and leaves the rest out.",
    "The engine started at once, but the lights did not come on.",
    "Write the result in the table and add the date in the last column.",
    "Nobody was hurt, and the road was open again after two hours.",
    "Could you help me with a letter to my landlord about the heating?",
    "The recipe calls for 250 grams of sugar, 3 eggs and 100 millilitres of milk.",
    "He has worked in the same workshop for more than twenty years.",
    "user assistant system tool question answer request response policy limit offer include withhold",
    "one two three four five six seven eight nine ten eleven twelve 0 1 2 3 4 5 6 7 8 9",
)


def build_tiny_checkpoint(directory: Path) -> Path:
    """Build a checkpoint that vLLM and transformers can load (a few hundred kilobytes); return its directory.

    It is built aside and renamed into place, so that a reader sees all of it or nothing. A complete one is left alone;
    anything else at that path is replaced. The same library versions give the same bytes.
    """
    if is_complete(directory):
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as scratch:
        built = Path(scratch) / "checkpoint"
        built.mkdir()
        _write_files(built)
        _move_into_place(built, directory)
    return directory


def is_complete(directory: Path) -> bool:
    """Return whether the directory holds a whole checkpoint of this recipe."""
    try:
        return json.loads((directory / _COMPLETE).read_text("utf-8")) == _RECIPE
    except (OSError, ValueError):
        return False


def _move_into_place(built: Path, directory: Path) -> None:
    try:
        built.rename(directory)
    except OSError:
        if is_complete(directory):  # another process was faster
            return
        shutil.rmtree(directory)
        built.rename(directory)


def _write_files(directory: Path) -> None:
    _write_tokenizer(directory)
    _write_json(directory / "config.json", _model_config())
    _write_json(directory / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    _write_weights(directory / "model.safetensors")
    _write_json(directory / _COMPLETE, _RECIPE)


def _write_tokenizer(directory: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer=trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    _write_json(directory / "tokenizer_config.json", _tokenizer_config())


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _BEGIN,
        "eos_token": _END,
        "pad_token": _PAD,
        "model_max_length": POSITIONS_MAX,
        "clean_up_tokenization_spaces": False,
        "chat_template": _CHAT_TEMPLATE,
    }


def _model_config() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": POSITIONS_MAX,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "initializer_range": _STANDARD_DEVIATION,
        "torch_dtype": "float32",
        "use_cache": True,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _write_weights(path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    random = np.random.default_rng(SEED)

    def matrix(rows: int, columns: int) -> "NDArray[np.float32]":
        return (random.standard_normal((rows, columns)) * _STANDARD_DEVIATION).astype(np.float32)

    tensors = {"model.embed_tokens.weight": matrix(VOCABULARY, HIDDEN)}
    for index in range(LAYERS):
        layer = f"model.layers.{index}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"{layer}.self_attn.{name}.weight"] = matrix(HIDDEN, HIDDEN)
        tensors[f"{layer}.mlp.gate_proj.weight"] = matrix(INTERMEDIATE, HIDDEN)
        tensors[f"{layer}.mlp.up_proj.weight"] = matrix(INTERMEDIATE, HIDDEN)
        tensors[f"{layer}.mlp.down_proj.weight"] = matrix(HIDDEN, INTERMEDIATE)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{layer}.{name}.weight"] = np.ones(HIDDEN, dtype=np.float32)
    tensors["model.norm.weight"] = np.ones(HIDDEN, dtype=np.float32)
    tensors["lm_head.weight"] = matrix(VOCABULARY, HIDDEN)
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library makes it readable for its owner alone, but an engine may run as another user


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Build into the directory named by the one argument, and print its path."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m serving.engine.tiny_checkpoint DIRECTORY\n")
        return 2
    sys.stdout.write(f"{build_tiny_checkpoint(Path(arguments[0]))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
