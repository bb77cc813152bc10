"""What a worker's streams do when their partitions change hands."""

import threading
from collections.abc import Callable, Mapping

import pytest

from topology.contract.streams import StreamRecord
from topology.telemetry.instruments import Instruments
from workers.kafka.following.follower import Follower, Start
from workers.settings import Settings
from workers.streaming.opening import WorkerStreams
from workers.streaming.releases import ReadBack, Streams

EVENT_MS = 10_000_000


class Nowhere:
    async def send(self, number: int, record: StreamRecord) -> bool:
        del number, record
        return False

    def close(self) -> None:
        """Nothing is held."""


class Opened:
    """The streams of a worker that is connected to nothing, and what its follower is told to follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.followed: dict[int, Start] = {}
        self.before_follow: Callable[[], object] = lambda: None

        def follow(_: Follower, partitions: Mapping[int, Start]) -> None:
            self.before_follow()
            self.followed = dict(partitions)

        def follow_anew(_: Follower, partition: int, start: Start) -> None:
            self.followed[partition] = start

        monkeypatch.setattr(Follower, "follow", follow)
        monkeypatch.setattr(Follower, "follow_anew", follow_anew)
        self.worker = WorkerStreams(Settings(), Nowhere(), Instruments.none())
        self.streams: Streams = self.worker._streams  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


def test_a_partition_that_begins_while_others_change_hands_stays_followed(opened: Opened) -> None:
    opened.streams.begin(0, EVENT_MS)
    beginning = threading.Thread(target=opened.streams.begin, args=(1, EVENT_MS))

    def meanwhile() -> None:
        beginning.start()
        beginning.join(0.1)

    opened.before_follow = meanwhile
    opened.worker.memory.keep([("events", 0), ("events", 1)])
    beginning.join(10)
    assert set(opened.streams.starts) == set(opened.followed) == {0, 1}


def test_what_is_let_go_is_forgotten(opened: Opened) -> None:
    opened.streams.begin(0, EVENT_MS)
    opened.streams.begin(1, EVENT_MS)
    opened.streams.read_back.update(a=ReadBack(("events", 0), 1), b=ReadBack(("events", 1), 1))
    opened.worker.memory.keep([("events", 1)])
    assert set(opened.streams.starts) == set(opened.followed) == {1}
    assert set(opened.streams.read_back) == {"b"}
