"""What a vLLM engine needs in its environment, however it is started."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "gpu"]

Progress = Callable[[str, float], None]
"""Told the state and the seconds waited so far, once a poll."""

TINY_ENGINE: dict[str, object] = {
    "enforce_eager": True,
    "dtype": "float32",
    "max_model_len": 8192,
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}
"""For the tiny checkpoint on a CPU: no compilation, room for a compiled prompt in a vocabulary of 512 tokens, and no
blanks between the parts of guided JSON, which random weights would fill a whole answer with."""

TINY_ARGUMENTS = (
    *("--enforce-eager", "--dtype", "float32", "--max-model-len", "8192"),
    *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
)
"""The same on the command line."""


def is_local_model(model: str) -> bool:
    """True where `model` names a directory rather than a model on a hub."""
    return model.startswith(("/", "./", "../", "~")) or Path(model).is_dir()


def engine_environment(model: str, *, device: Device, kv_cache_gib: int) -> dict[str, str]:
    """Environment variables of the engine's process: no telemetry to its makers, and no hub for a local model."""
    variables = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    if is_local_model(model):
        variables["HF_HUB_OFFLINE"] = "1"
    if device == "cpu":
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(kv_cache_gib)
    return variables
