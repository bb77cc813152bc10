"""The Releases port over a stream topic in memory."""

import asyncio

import msgspec
import pytest

from tests.topology.streaming.stream_samples import opened, segment, token
from tests.workers.streaming.stream_world import EVENT_MS, IDS, StreamLog, Worker, run
from topology.contract.errors import PrefixChanged, Replaced
from topology.contract.names import DraftSource
from topology.contract.streams import StreamRecord
from topology.streaming.reader_rule import BEGIN_BEFORE_MS, Shown
from workers.streaming.releases import KafkaReleases, ReadBack

GENERATOR = DraftSource.GENERATOR


def shown(log: StreamLog) -> str:
    reader = Shown()
    for record in log.records:
        reader.take(msgspec.json.decode(record.value or b"", type=StreamRecord))
    return reader.text


async def say(releases: KafkaReleases, *texts: str) -> None:
    for text in texts:
        await releases.release(text, GENERATOR, is_last=False)


def test_a_run_opens_reads_back_and_releases() -> None:
    async def work() -> None:
        log = StreamLog()
        releases = Worker(log).releases()
        assert await releases.open() == ""
        await say(releases, "One. ", "Two. ")
        assert (releases.sent, shown(log)) == ("One. Two. ", "One. Two. ")
        assert await releases.open() == "One. Two. "
        assert len(log.records) == 3  # a further `open` under the same ownership writes nothing

    run(work())


def test_a_successor_goes_on_from_what_was_released() -> None:
    async def work() -> None:
        log = StreamLog()
        first = Worker(log).releases()
        await first.open()
        await say(first, "One. ")
        await first.release("Two.", GENERATOR, is_last=True)
        second = Worker(log, producer_id=8, generation=2).releases()
        assert await second.open() == "One. Two."
        assert second.has_last
        with pytest.raises(Replaced):
            await say(first, "Zombie. ")
        assert shown(log) == "One. Two."

    run(work())


def test_the_prefix_is_what_stands_before_the_own_opened_however_it_was_read() -> None:
    async def work() -> None:
        log, worker = StreamLog(), None
        old = token(1, producer_id=9)
        log.write(opened(old), segment(old, 1, "One. "))
        worker = Worker(log, generation=2)
        younger = worker.releases(event_ms=EVENT_MS + 5)
        assert await younger.open() == "One. "
        log.write(segment(old, 2, "Zombie. "))
        await say(younger, "Two. ")
        assert shown(log) == younger.sent == "One. Two. "

    run(work())


def test_an_older_event_has_its_partition_read_from_further_back() -> None:
    async def work() -> None:
        log = StreamLog()
        worker = Worker(log)
        await worker.releases(event_ms=EVENT_MS + 10).open()
        other = msgspec.structs.replace(IDS, audit_id="a2")
        await worker.releases(other, event_ms=EVENT_MS).open()
        await worker.releases(msgspec.structs.replace(IDS, audit_id="a3"), event_ms=EVENT_MS + 5).open()
        assert worker.starts == [EVENT_MS + 10 - BEGIN_BEFORE_MS, EVENT_MS - BEGIN_BEFORE_MS]

    run(work())


@pytest.mark.parametrize("outcome", ["lost", "unheard", "stuck"])
def test_a_failed_write_opens_a_new_run_that_finds_out_whether_it_arrived(outcome: str) -> None:
    async def work() -> None:
        log = StreamLog()
        worker = Worker(log)
        releases = worker.releases()
        await releases.open()
        await say(releases, "One. ")
        worker.outcomes = [outcome]
        await say(releases, "Two. ", "Three. ")
        assert shown(log) == releases.sent == "One. Two. Three. "

    run(work())


def test_after_a_change_of_ownership_it_opens_again() -> None:
    async def work() -> None:
        log = StreamLog()
        worker = Worker(log)
        releases = worker.releases()
        await releases.open()
        await say(releases, "One. ")
        worker.own(1)  # given and taken back within one generation, as far as anyone can tell
        await say(releases, "Two. ")
        assert [record.kind for record in _stream(log)] == ["opened", "segment", "opened", "segment"]
        worker.own(3)
        assert await releases.open() == "One. Two. "
        assert worker.streams.read_back[IDS.audit_id] == ReadBack(("events", 0), 3)
        assert _stream(log)[-1].token.generation == 3

    run(work())


def test_text_of_another_owner_becomes_the_prefix() -> None:
    async def work() -> None:
        log = StreamLog()
        worker, other = Worker(log), Worker(log, producer_id=8, generation=2)
        releases, theirs = worker.releases(), other.releases()
        await releases.open()
        await say(releases, "One. ")
        await theirs.open()
        await say(theirs, "Theirs. ")
        # This worker has not seen the generation in which the other one owned the partition.
        worker.own(3)
        with pytest.raises(PrefixChanged):
            await say(releases, "Two. ")
        assert await releases.open() == "One. Theirs. "
        await say(releases, "Two. ")
        assert shown(log) == releases.sent == "One. Theirs. Two. "

    run(work())


def test_text_that_arrives_before_a_run_opens_again_is_not_followed_by_what_was_made_without_it() -> None:
    async def work() -> None:
        log = StreamLog()
        worker = Worker(log)
        releases = worker.releases()
        await releases.open()
        await say(releases, "One. ")
        own = _stream(log)[0].token
        worker.own(2)

        def arrives(record: StreamRecord) -> None:
            if record.kind == "opened":
                log.write(segment(own, 2, "Late. "))  # of an earlier run of this worker, sent twice by its producer

        worker.before_send = arrives
        with pytest.raises(PrefixChanged):
            await say(releases, "Two. ")
        assert await releases.open() == shown(log) == "One. Late. "
        await say(releases, "Three. ")
        assert shown(log) == releases.sent == "One. Late. Three. "

    run(work())


def test_a_log_that_begins_too_late_releases_nothing() -> None:
    async def work() -> None:
        log = StreamLog()
        log.whole_from_ms = EVENT_MS - BEGIN_BEFORE_MS + 1
        with pytest.raises(Replaced, match="too late"):
            await Worker(log).releases().open()

    run(work())


def test_a_missing_offset_makes_every_event_from_before_it_replaced() -> None:
    async def work() -> None:
        log = StreamLog()
        log.write(opened(token(1, producer_id=9)))
        log.records.append(msgspec.structs.replace(log.records[0], offset=5, timestamp_ms=EVENT_MS + 5))
        with pytest.raises(Replaced, match="too late"):
            await Worker(log, generation=2).releases().open()

    run(work())


def test_a_run_that_does_not_read_its_own_opened_is_given_up() -> None:
    async def work() -> None:
        worker = Worker(StreamLog())
        worker.is_deaf = True
        with pytest.raises(Replaced, match="in time"):
            await worker.releases().open()

    run(work())


def test_runs_have_a_bound() -> None:
    async def work() -> None:
        worker = Worker(StreamLog(), runs_max=2)
        worker.outcomes = ["lost"] * 9
        with pytest.raises(Replaced, match="too many"):
            await worker.releases().open()
        assert len(worker.outcomes) == 7

    run(work())


def test_a_partition_that_is_not_owned_releases_nothing() -> None:
    async def work() -> None:
        worker = Worker(StreamLog())
        releases = worker.releases()
        await releases.open()
        worker.own(2, is_owner=False)
        with pytest.raises(Replaced, match="not owned"):
            await say(releases, "One. ")
        assert not worker.log.records[1:]

    run(work())


def test_a_record_that_cannot_be_read_gives_the_stream_up() -> None:
    async def work() -> None:
        log = StreamLog()
        log.append(b"{broken")
        with pytest.raises(Replaced, match="cannot be read"):
            await Worker(log).releases().open()

    run(work())


def test_opening_and_releasing_at_once_opens_once() -> None:
    async def work() -> None:
        log = StreamLog()
        releases = Worker(log).releases()
        await asyncio.gather(releases.open(), say(releases, "One. "))
        assert [record.kind for record in _stream(log)] == ["opened", "segment"]

    run(work())


def _stream(log: StreamLog) -> list[StreamRecord]:
    return [msgspec.json.decode(record.value or b"", type=StreamRecord) for record in log.records]
