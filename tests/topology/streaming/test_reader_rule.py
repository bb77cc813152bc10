"""What a reader shows, record by record."""

from tests.topology.streaming.stream_samples import opened, segment, token
from topology.contract.streams import StreamRecord
from topology.streaming.reader_rule import GRACE_MS, Ending, Shown, is_overdue

OLD, NEW = token(1), token(2)


def shown(*records: StreamRecord, is_from_start: bool = True) -> Shown:
    reader = Shown(is_from_start=is_from_start)
    for record in records:
        reader.take(record)
    return reader


def test_segments_of_one_run_are_shown_in_order() -> None:
    reader = shown(opened(OLD), segment(OLD, 1, "One. "))
    assert reader.take(segment(OLD, 2, "Two.", last=True)) == "Two."
    assert (reader.text, reader.has_last, reader.is_waiting) == ("One. Two.", True, False)


def test_a_segment_before_its_opened_is_not_shown() -> None:
    assert not shown(segment(OLD, 1, "One. ")).text


def test_a_lower_token_is_ignored_once_a_higher_one_opened() -> None:
    reader = shown(opened(OLD), segment(OLD, 1, "One. "), opened(NEW), segment(OLD, 2, "Zombie. "), opened(OLD))
    assert reader.take(segment(NEW, 2, "Two. ")) == "Two. "
    assert reader.text == "One. Two. "


def test_a_higher_token_counts_only_from_its_opened_on() -> None:
    assert shown(opened(OLD), segment(NEW, 1, "Early. "), segment(OLD, 1, "One. ")).text == "One. "


def test_a_sequence_had_already_is_ignored() -> None:
    assert shown(opened(OLD), segment(OLD, 1, "One. "), segment(OLD, 1, "One. ")).text == "One. "


def test_after_a_gap_nothing_is_shown_until_the_response() -> None:
    reader = shown(opened(OLD), segment(OLD, 1, "One. "), segment(OLD, 3, "Three. "), segment(OLD, 2, "Two. "))
    assert (reader.text, reader.is_waiting) == ("One. ", True)
    assert reader.end("One. Two. Three. ") == Ending("Two. Three. ", is_replacing=False)


def test_a_token_that_cannot_be_compared_stops_everybody() -> None:
    other = token(1, producer_id=8)
    reader = shown(opened(OLD), segment(OLD, 1, "One. "), opened(other), segment(other, 2, "Two. "), opened(NEW))
    assert (reader.text, reader.is_waiting) == ("One. ", True)


def test_a_response_that_does_not_begin_with_what_was_shown_replaces_it() -> None:
    reader = shown(opened(OLD), segment(OLD, 1, "One. "))
    assert reader.end("Other.") == Ending("Other.", is_replacing=True)
    assert reader.text == "Other."
    assert not reader.take(segment(OLD, 2, "Late."))


def test_a_reader_that_began_later_shows_the_response_alone() -> None:
    late = shown(opened(OLD), segment(OLD, 1, "Zombie. "), is_from_start=False)
    assert late.end("Answer.") == Ending("Answer.", is_replacing=False)


def test_the_response_is_awaited_for_half_a_minute_after_the_deadline() -> None:
    assert [is_overdue(1000, now) for now in (0, 1000 + GRACE_MS, 1001 + GRACE_MS)] == [False, False, True]
