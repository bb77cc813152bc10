"""The options and environment that a vLLM engine needs, however it is started."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "gpu"]

Progress = Callable[[str, float], None]
"""A function that is called once a poll with the state and the seconds waited so far."""

TINY_ENGINE: dict[str, object] = {
    "enforce_eager": True,
    "dtype": "float32",
    "max_model_len": 8192,
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}
"""The engine arguments of the tiny checkpoint on a CPU: no compilation, room for a compiled prompt in a vocabulary of
512 tokens, and no blanks in guided JSON, because random weights would fill a whole answer with them."""

SMALL_ENGINE: dict[str, object] = {
    "enforce_eager": True,
    "dtype": "float32",
    "max_model_len": 4096,
    "max_num_seqs": 16,
}
"""The engine arguments of SmolLM2 on a CPU: 16-bit floats are ten times slower there without AVX-512."""

TINY_ARGUMENTS = (
    *("--enforce-eager", "--dtype", "float32", "--max-model-len", "8192"),
    *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
)
"""The same arguments on the command line."""


def is_local_model(model: str) -> bool:
    """Return whether `model` names a directory rather than a model on a hub."""
    return model.startswith(("/", "./", "../", "~")) or Path(model).is_dir()


def engine_environment(model: str, *, device: Device, kv_cache_gib: int) -> dict[str, str]:
    """Return the environment of the engine's process: no telemetry to its makers, and no hub for a local model."""
    variables = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    if is_local_model(model):
        variables["HF_HUB_OFFLINE"] = "1"
    if device == "cpu":
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(kv_cache_gib)
    return variables
