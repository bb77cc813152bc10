"""Requests that are late, cut off or doubled, on the way from the workers to a real broker, by the tests' own proxy.

Whatever befalls a request, its client sees a connection that was reset, and sends the request again on another one.
"""

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from enum import StrEnum

from tests.plugins.frame_proxy import FrameProxy

KINDS: Mapping[int, str] = {
    0: "Produce",
    22: "InitProducerId",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
    11: "JoinGroup",
    14: "SyncGroup",
    12: "Heartbeat",
    1: "Fetch",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
}
"""Names of requests by their key in the protocol."""

COUNTED = tuple(name for key, name in KINDS.items() if key not in {8, 9, 10})
"""Requests of which a run has to disturb as many as it was told; the others come too seldom."""

SELDOM = frozenset({"JoinGroup", "SyncGroup", "OffsetCommit"})
AT_START = frozenset({"Metadata", "FindCoordinator", "OffsetFetch"})
SHARE = 0.5
"""Of the requests of a kind that are disturbed, once its gap is over: what is sent again gets through soon."""
GAP_S = 0.8
SELDOM_GAP_S = 0.05
START_GAP_S = 4.0
"""The least time between two disturbed requests of a kind; of the kinds that each start of a client needs, more."""

LATE_S = 3.0
VERY_LATE_S = 25.0
VERY_LATE_SHARE = 0.1
"""Longer than a session, and than a transaction may take."""

ANSWER_S = 20.0
"""How long a connection is kept on which a request came late; nobody hears its answer."""


class Trouble(StrEnum):
    """What befalls a request. Its client's connection is cut in each case."""

    LATE = "late"
    """It reaches the broker later than the one that its client sends again."""
    CUT = "cut"
    """It never reaches the broker."""
    DOUBLED = "doubled"
    """It reaches the broker at once, as does the one that its client sends again."""


class Disturbed:
    """One request, as `KeptRequest` for the proxy."""

    def __init__(self, name: str, trouble: Trouble, delay_s: float, storm: "Storm") -> None:
        self._name = name
        self._trouble = trouble
        self._delay_s = delay_s
        self._storm = storm

    def keep(self, frame: bytes, broker: socket.socket) -> None:
        """Take over the request and its connection to the broker."""
        if self._trouble is Trouble.CUT:
            broker.close()
            self._storm.note(self._name, self._trouble)
            return
        timer = threading.Timer(self._delay_s, self._deliver, [frame, broker])
        timer.daemon = True
        timer.start()

    def _deliver(self, frame: bytes, broker: socket.socket) -> None:
        with suppress(OSError), closing(broker):
            broker.settimeout(ANSWER_S)
            broker.sendall(frame)
            self._storm.note(self._name, self._trouble)
            broker.recv(1 << 16)


class Storm(FrameProxy):
    """A proxy that disturbs requests of every kind, by chance, as long as it is not calm."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._next_s: dict[str, float] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._count_lock = threading.Lock()
        self.is_calm = True
        super().__init__()

    def counts(self) -> Counter[tuple[str, str]]:
        """Return how many requests were disturbed, by kind and trouble."""
        with self._count_lock:
            return Counter(self._counts)

    def note(self, name: str, trouble: Trouble) -> None:
        """Count a request that was disturbed."""
        with self._count_lock:
            self._counts[name, trouble.value] += 1

    def _take(self, frame: bytes) -> Disturbed | None:
        name = KINDS.get(int.from_bytes(frame[4:6]))
        if name is None or self.is_calm:
            return None
        with self._lock:
            now_s, chance = time.monotonic(), self._random
            if now_s < self._next_s.get(name, 0.0) or chance.random() >= SHARE:
                return None
            self._next_s[name] = now_s + _gap_s(name)
            trouble = chance.choice(tuple(Trouble))
            most_s = VERY_LATE_S if chance.random() < VERY_LATE_SHARE else LATE_S
            delay_s = chance.uniform(0, most_s) if trouble is Trouble.LATE else 0.0
        return Disturbed(name, trouble, delay_s, self)


def _gap_s(name: str) -> float:
    if name in AT_START:
        return START_GAP_S
    return SELDOM_GAP_S if name in SELDOM else GAP_S


def least(counts: Mapping[str, int]) -> int:
    """Return how many requests were disturbed of the kind of which the fewest were; names begin with the kind."""
    of_kinds: Counter[str] = Counter()
    for name, count in counts.items():
        of_kinds[name.split()[0]] += count
    return min(of_kinds[name] for name in COUNTED)
