"""The writer: opened, read back, one segment after the other."""

import pytest

from tests.topology.streaming.stream_samples import IDS, opened, segment, token
from topology.contract.errors import Replaced
from topology.contract.names import DraftSource
from topology.contract.streams import StreamRecord, StreamToken
from topology.streaming.writer import StreamWriter

GENERATOR = DraftSource.GENERATOR
MINE = token(5)


def reading(*records: StreamRecord) -> StreamWriter:
    writer = StreamWriter(IDS)
    for record in records:
        writer.read(record)
    return writer


def run(writer: StreamWriter, under: StreamToken = MINE) -> StreamWriter:
    writer.read(writer.open(under))
    return writer


def say(writer: StreamWriter, text: str) -> StreamRecord:
    return writer.segment(text, GENERATOR, is_last=False)


def test_nothing_leaves_before_the_own_opened_was_read() -> None:
    writer = StreamWriter(IDS)
    with pytest.raises(RuntimeError):
        say(writer, "One. ")
    own = writer.open(MINE)
    with pytest.raises(RuntimeError):
        say(writer, "One. ")
    writer.read(own)
    assert say(writer, "One. ") == segment(MINE, 1, "One. ")


def test_the_next_segment_waits_for_the_acknowledgement() -> None:
    writer = run(StreamWriter(IDS))
    first = say(writer, "One. ")
    with pytest.raises(RuntimeError):
        say(writer, "Two. ")
    writer.acknowledged(first)
    assert say(writer, "Two. ").sequence == 2
    assert writer.sent == "One. Two. "


def test_what_lower_tokens_released_is_the_prefix() -> None:
    old = token(4)
    writer = run(reading(opened(old), segment(old, 1, "One. ", last=True)))
    assert (writer.sent, writer.has_last) == ("One. ", True)
    assert say(writer, "Two.").sequence == 2


def test_a_segment_that_was_not_acknowledged_counts_until_it_is_known_not_to_have_arrived() -> None:
    writer = run(StreamWriter(IDS))
    lost = say(writer, "One. ")
    writer.failed()
    assert (writer.sent, writer.is_open) == ("One. ", False)
    again = writer.open(token(5, run=2))
    assert writer.sent == "One. "
    writer.read(again)
    assert (writer.sent, writer.is_open) == ("", True)
    writer.read(lost)  # too late: every reader ignores it as well
    assert say(writer, "Anew. ").sequence == 1


def test_a_segment_that_arrived_before_the_new_opened_is_kept() -> None:
    writer = run(StreamWriter(IDS))
    lost = say(writer, "One. ")
    writer.failed()
    again = writer.open(token(5, run=2))
    writer.read(lost)
    writer.read(again)
    assert writer.sent == "One. "
    assert say(writer, "Two. ").sequence == 2


def test_a_late_acknowledgement_of_an_earlier_run_changes_nothing() -> None:
    writer = run(StreamWriter(IDS))
    lost = say(writer, "One. ")
    writer.failed()
    run(writer, token(5, run=2))
    other = say(writer, "Other. ")
    writer.acknowledged(lost)
    with pytest.raises(RuntimeError):
        say(writer, "Next. ")
    writer.acknowledged(other)
    assert say(writer, "Next. ").sequence == 2


@pytest.mark.parametrize(
    "met",
    [opened(token(5, producer_id=8)), segment(MINE, 4, "Gap. "), segment(token(5, producer_id=8), 1, "Other. ")],
    ids=["not comparable", "gap", "segment not comparable"],
)
def test_a_writer_that_was_replaced_releases_nothing_more(met: StreamRecord) -> None:
    writer = run(StreamWriter(IDS))
    writer.read(met)
    with pytest.raises(Replaced):
        say(writer, "One. ")
    with pytest.raises(Replaced):
        writer.open(token(9))


@pytest.mark.parametrize("met", [opened(token(6)), segment(token(6), 1, "Other. ")], ids=["opened", "segment"])
def test_a_writer_that_was_overtaken_releases_nothing_more_unless_it_opens_higher(met: StreamRecord) -> None:
    writer = run(StreamWriter(IDS))
    writer.read(met)
    with pytest.raises(Replaced):
        say(writer, "One. ")
    run(writer, token(7))
    assert say(writer, "One. ").sequence == 1


def test_text_of_whoever_overtook_it_becomes_the_prefix() -> None:
    writer = run(StreamWriter(IDS))
    writer.read(opened(token(6)))
    writer.read(segment(token(6), 1, "Other. "))
    run(writer, token(7))
    assert writer.sent == "Other. "


@pytest.mark.parametrize("higher", [token(6), token(5, producer_id=8), token(5, run=2)])
def test_a_higher_token_that_was_read_before_the_own_opened(higher: StreamToken) -> None:
    writer = StreamWriter(IDS)
    own = writer.open(MINE)
    writer.read(opened(higher))
    writer.read(own)
    assert not writer.is_open


@pytest.mark.parametrize("higher", [token(6), token(5), token(5, producer_id=8)])
def test_no_run_opens_below_what_was_read(higher: StreamToken) -> None:
    with pytest.raises(Replaced):
        reading(opened(higher)).open(MINE)


def test_a_run_opens_under_a_higher_token_only() -> None:
    writer = run(StreamWriter(IDS))
    with pytest.raises(Replaced):
        writer.open(token(4, run=2))
