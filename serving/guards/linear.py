"""The embedded model: calibrated logistic heads over hashed n-grams, loaded from one file of plain arrays."""

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from serving.text.features import BUCKETS, Sparse, features, windows

FORMAT = 1
FILE_BYTES_MAX = 32 * 1024 * 1024
HEADS_MAX = 64
VERSION_DIGITS = 12
MODEL_FILE = Path(__file__).parent / "models" / "guard.npz"
"""The packaged weights."""


class Band(StrEnum):
    """The place of a probability relative to a head's two thresholds."""

    OUT = "out"
    ABSTAIN = "abstain"
    IN = "in"


class ModelError(ValueError):
    """A weights file that must not be used; `args` is (what is wrong with it)."""


class Head(Struct, frozen=True, kw_only=True):
    """A head as it is stored.

    `weights` are 8-bit steps of `scale`. The probability is sigmoid(slope * margin + offset), where `margin` is the
    weighted sum over the features. The head says yes at `high` or above and no at `low` or below; between, it abstains.
    """

    name: str
    weights: NDArray[np.int8]
    scale: float
    slope: float
    offset: float
    low: float
    high: float


class LinearModel:
    """The heads' probabilities for a text. Immutable; pickled as its arrays."""

    def __init__(self, heads: Sequence[Head], version: str) -> None:
        problems = _problems(heads)
        if problems:
            raise ModelError("; ".join(problems))
        self.names = tuple(head.name for head in heads)
        self.version = version
        self._column = {name: column for column, name in enumerate(self.names)}
        scaled = np.stack([head.weights.astype(np.float32) * np.float32(head.scale) for head in heads], axis=1)
        self._weights = np.ascontiguousarray(scaled)
        self._slope = np.array([head.slope for head in heads])
        self._offset = np.array([head.offset for head in heads])
        self._low = {head.name: head.low for head in heads}
        self._high = {head.name: head.high for head in heads}

    @classmethod
    def load(cls, path: Path = MODEL_FILE) -> "LinearModel":
        """Return the model of a file. Its version is the first digits of the file's SHA-256. Raises ModelError."""
        content = _read(path)
        return cls(_decode(content), hashlib.sha256(content).hexdigest()[:VERSION_DIGITS])

    def probabilities(self, text: str) -> dict[str, float]:
        """Return for each head its highest calibrated probability over the text's windows, in [0, 1]."""
        margins = np.stack([self._margins(features(window)) for window in windows(text)])
        scores = sigmoid(margins * self._slope + self._offset).max(axis=0)
        return {name: float(score) for name, score in zip(self.names, scores, strict=True)}

    def band(self, name: str, probability: float) -> Band:
        """Return the band of `probability` for the head `name`."""
        if probability >= self._high[name]:
            return Band.IN
        return Band.ABSTAIN if probability > self._low[name] else Band.OUT

    def bands(self, probabilities: Mapping[str, float]) -> dict[str, Band]:
        """Return the band of every head in `probabilities`."""
        return {name: self.band(name, probability) for name, probability in probabilities.items()}

    def thresholds(self, name: str) -> tuple[float, float]:
        """Return the head's (low, high)."""
        return self._low[name], self._high[name]

    def __contains__(self, name: str) -> bool:
        return name in self._column

    def _margins(self, sparse: Sparse) -> NDArray[np.float64]:
        return (sparse.values @ self._weights[sparse.buckets]).astype(np.float64)


def sigmoid(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logistic function of the margins, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * margins))


def save(heads: Sequence[Head], path: Path) -> str:
    """Write the heads to a file and return its version. Equal heads give equal bytes. Raises ModelError."""
    problems = _problems(heads)
    if problems:
        raise ModelError("; ".join(problems))
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        format=np.array(FORMAT),
        names=np.array([head.name for head in heads]),
        weights=np.stack([head.weights for head in heads]),
        parameters=np.array([[head.scale, head.slope, head.offset, head.low, head.high] for head in heads]),
    )
    path.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()[:VERSION_DIGITS]


def quantise(weights: NDArray[np.float64]) -> tuple[NDArray[np.int8], float]:
    """Return the weights as 8-bit steps, and the size of a step."""
    largest = float(np.abs(weights).max(initial=0.0))
    scale = largest / 127 if largest > 0 else 1.0
    return np.round(weights / scale).astype(np.int8), scale


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ModelError(f"cannot read {path.name}: {exc.strerror}") from exc
    if len(content) > FILE_BYTES_MAX:
        raise ModelError(f"{path.name} has {len(content)} bytes, at most {FILE_BYTES_MAX}")
    return content


def _decode(content: bytes) -> list[Head]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            stored = {name: arrays[name] for name in ("format", "names", "weights", "parameters")}
    except Exception as exc:  # zipfile, zlib and numpy raise a dozen unrelated types for damaged bytes
        raise ModelError("not a weights file") from exc
    names, weights, parameters = stored["names"], stored["weights"], stored["parameters"]
    if int(stored["format"]) != FORMAT:
        raise ModelError(f"format {int(stored['format'])}, this version reads {FORMAT}")
    count = len(names)
    if not 0 < count <= HEADS_MAX or names.dtype.kind != "U":
        raise ModelError("names is not a list of 1 to 64 strings")
    if weights.shape != (count, BUCKETS) or weights.dtype != np.int8:
        raise ModelError(f"weights are {weights.dtype}{weights.shape}, expected int8{(count, BUCKETS)}")
    if parameters.shape != (count, 5) or parameters.dtype != np.float64:
        raise ModelError(f"parameters are {parameters.dtype}{parameters.shape}, expected float64{(count, 5)}")
    return [_head(str(names[index]), weights[index], parameters[index]) for index in range(count)]


def _head(name: str, weights: NDArray[np.int8], parameters: NDArray[np.float64]) -> Head:
    scale, slope, offset, low, high = (float(value) for value in parameters)
    return Head(name=name, weights=weights, scale=scale, slope=slope, offset=offset, low=low, high=high)


def _problems(heads: Sequence[Head]) -> list[str]:
    problems: list[str] = []
    if not heads:
        problems.append("no heads")
    if len({head.name for head in heads}) != len(heads):
        problems.append("two heads have one name")
    for head in heads:
        if head.weights.shape != (BUCKETS,) or head.weights.dtype != np.int8:
            problems.append(f"{head.name}: weights are not {BUCKETS} 8-bit steps")
        if not all(math.isfinite(value) for value in (head.scale, head.slope, head.offset)) or head.scale <= 0:
            problems.append(f"{head.name}: scale, slope or offset is out of range")
        if head.slope <= 0:
            problems.append(f"{head.name}: a higher margin must mean a higher probability")
        if not 0.0 <= head.low <= head.high <= 1.0:
            problems.append(f"{head.name}: thresholds are not 0 <= low <= high <= 1")
    return problems
