"""The encoder at work: texts in, probabilities of every head out. ONNX Runtime with 8-bit weights, no torch.

A text longer than a window is read window by window: the first, the last, those that were marked, then the rest, as far
as `Bounds` go. Of what several windows say, the gravest counts: each value of a head that has several keeps its highest
probability, and a choice is taken from the window that speaks most clearly.
"""

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnxruntime
from msgspec import Struct
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serving.guards.encoder.heads import HEADS, HEADS_VERSION, Head, Kind
from serving.guards.encoder.texts import Given, Window, marked_windows, reading_order, windows_of
from serving.guards.encoder.thresholds import Thresholds
from topology.contract.labels import PartlyRead

WINDOWS_MAX = 64
READINGS_KEPT = 64
"""The latest readings that are kept: a draft is read by two stages, one shortly after the other."""
DESCRIPTION_FILE = "encoder.json"
PACKAGED = "packaged"
"""The name of the weights that come with this package."""
PACKAGED_FOLDER = Path(__file__).parent / "weights"
CALIBRATION_CHARACTERS = 6


class EncoderError(ValueError):
    """Weights that cannot be used; `args` is (what is wrong)."""


class Bounds(Struct, frozen=True, kw_only=True):
    """How much of one text is read: at most so many windows, and none after so many seconds but the first."""

    windows_max: int = WINDOWS_MAX
    seconds: float = math.inf


UNBOUND_TIME = Bounds()


class Description(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What belongs to the weights: the version of the heads, each head's temperature, and the thresholds.

    `version` begins the digest of the graph, `rows` and `public_rows` count what it was trained on.
    """

    heads_version: int
    version: str = ""
    rows: int = 0
    public_rows: int = 0
    temperatures: dict[str, float] = {}
    thresholds: Thresholds = Thresholds()


def encoder_folder(name: str) -> Path:
    """Return the folder of the weights that `name` stands for: those of this package, or the folder of that name."""
    return PACKAGED_FOLDER if name == PACKAGED else Path(name)


def description_of(folder: Path) -> Description:
    """Return what belongs to the weights in a folder. Raises EncoderError, or OSError if it cannot be read."""
    try:
        found = msgspec.json.decode((folder / DESCRIPTION_FILE).read_bytes(), type=Description)
    except msgspec.DecodeError as error:
        raise EncoderError(f"{folder / DESCRIPTION_FILE}: {error}") from None
    if found.heads_version != HEADS_VERSION:
        raise EncoderError(f"{folder}: heads of version {found.heads_version}, this code has {HEADS_VERSION}")
    return found


def version_of(description: Description) -> str:
    """Return the version of described weights and, behind a dot, of their calibration."""
    calibrated = msgspec.json.encode((sorted(description.temperatures.items()), description.thresholds))
    return f"{description.version}.{hashlib.sha256(calibrated).hexdigest()[:CALIBRATION_CHARACTERS]}"


class Reading(NamedTuple):
    """What the encoder says of one text: probabilities by head, in the order of its values.

    `spans` are stretches of a document that give orders, in characters. `read` and `windows` count windows: if fewer
    were read than there are, the rest of the text is unknown. `marked_unread` counts those left that were marked.
    """

    heads: Mapping[str, NDArray[np.float32]]
    spans: tuple[tuple[int, int], ...]
    read: int
    windows: int
    marked_unread: int = 0

    @property
    def partly_read(self) -> PartlyRead | None:
        """Return what is said of a text that was not read as a whole; None for one that was."""
        if self.read == self.windows:
            return None
        return PartlyRead(read=self.read, windows=self.windows, marked_unread=self.marked_unread)

    def of(self, head: str, value: str = "yes") -> float:
        """Return the probability of one value."""
        return float(self.heads[head][HEADS[head].values.index(value)])

    def chosen(self, head: str) -> str:
        """Return the likeliest value of a choice."""
        return HEADS[head].values[int(self.heads[head].argmax())]


class Encoder:
    """A loaded encoder. Thread-safe: ONNX Runtime sessions are, and nothing else is changed but the kept readings."""

    def __init__(
        self,
        folder: Path,
        threads: int = 1,
        description: Description | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load what is in `folder`; `description` takes the place of the one there. Raises EncoderError, OSError."""
        self._description = description or description_of(folder)
        self._version = version_of(self._description)
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._latest: OrderedDict[Given, Reading] = OrderedDict()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(folder / "encoder.onnx"), options, providers=["CPUExecutionProvider"]
        )

    @property
    def version(self) -> str:
        """Return the version of the weights and, behind a dot, of their calibration."""
        return self._version

    @property
    def thresholds(self) -> Thresholds:
        """Return when a probability counts."""
        return self._description.thresholds

    def read(self, texts: Sequence[Given], bounds: Bounds = UNBOUND_TIME) -> list[Reading]:
        """Return a reading of each text, in order; windows beyond the bounds of a text are left unread.

        The latest readings are kept, because several stages read the same draft.
        """
        readings = {each: kept for each in texts if (kept := self._kept(each)) is not None}
        missing = [each for each in dict.fromkeys(texts) if each not in readings]
        for given in missing:
            readings[given] = reading = self._read(given, bounds)
            if reading.partly_read is None:  # with more time, more of it would be read
                self._keep(given, reading)
        return [readings[each] for each in texts]

    def _kept(self, given: Given) -> Reading | None:
        with self._lock:
            return self._latest.get(given)

    def _keep(self, given: Given, reading: Reading) -> None:
        with self._lock:
            self._latest[given] = reading
            if len(self._latest) > READINGS_KEPT:
                self._latest.popitem(last=False)

    def _read(self, given: Given, bounds: Bounds) -> Reading:
        """Read window by window.

        Each has a pass of its own: 8-bit scales go by what is in a pass, so that neighbours would change what is said
        of a text; and batches are no faster.
        """
        until_s = self._monotonic_s() + bounds.seconds
        windows = windows_of(self._tokenizer, given)
        marked = marked_windows(windows, given.marked)
        passes: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        for place in reading_order(len(windows), marked)[: bounds.windows_max]:
            if passes and self._monotonic_s() >= until_s:
                break
            passes[place] = self._pass(windows[place])
        in_order = sorted(passes)
        is_document = given.kind is Kind.DOCUMENT
        return Reading(
            heads=self._joined(given.kind, [passes[place][0] for place in in_order]),
            spans=_spans([(windows[place], passes[place][1]) for place in in_order]) if is_document else (),
            read=len(passes),
            windows=len(windows),
            marked_unread=len(set(marked) - passes.keys()),
        )

    def _pass(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        given = {"ids": window.ids[None, :], "mask": np.ones((1, len(window.ids)), np.int64)}
        text, tokens = self._session.run(["text", "tokens"], given)
        return text[0], tokens[0, :, 0]

    def _joined(self, kind: Kind, logits: Sequence[NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        heads: dict[str, NDArray[np.float32]] = {}
        for head in HEADS.values():
            if head.of is kind:
                each = np.stack([self._probabilities(head, window) for window in logits])
                clearest = each[int(each[:, 1:].max(1).argmax())] if head.kind == "choice" else each.max(0)
                heads[head.name] = clearest
        return heads

    def _probabilities(self, head: Head, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = logits[head.start : head.end] / self._description.temperatures.get(head.name, 1.0)
        if head.kind == "several":
            return (1 / (1 + np.exp(-scaled))).astype(np.float32)
        risen = np.exp(scaled - scaled.max())
        return (risen / risen.sum()).astype(np.float32)


def _spans(windows: Sequence[tuple[Window, NDArray[np.float32]]]) -> tuple[tuple[int, int], ...]:
    """Return the stretches of characters whose tokens probably give orders; short gaps are closed."""
    spans: list[tuple[int, int]] = []
    for window, logits in windows:
        marks = logits[window.first : window.first + len(window.places)] > 0
        for (start, end), marked in zip(window.places, marks.tolist(), strict=True):
            if not marked:
                continue
            if spans and start - spans[-1][1] <= GAP_CHARACTERS:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    return tuple(span for span in spans if span[1] - span[0] >= SPAN_CHARACTERS_MIN)


GAP_CHARACTERS = 12
SPAN_CHARACTERS_MIN = 12
