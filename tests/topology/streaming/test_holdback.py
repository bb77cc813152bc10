"""Hold-back: what may leave while an answer is written, and what judging it costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.contract.labels import Span
from topology.streaming.holdback import HoldBack, HoldBounds, number_start, shortened, touching_from
from topology.streaming.segments import Segment

BOUNDS = HoldBounds(opening_sentences=2, opening_characters=30, context_characters=50)
OPEN = HoldBounds(opening_sentences=0, opening_characters=0, context_characters=50)


def held(*texts: str, is_cut: bool = False, bounds: HoldBounds = BOUNDS, shown: str = "") -> HoldBack:
    hold = HoldBack(bounds, shown)
    hold.take([Segment(text=text, is_cut=is_cut) for text in texts])
    return hold


def test_nothing_leaves_before_it_was_judged() -> None:
    hold = held("One. ", "Two. ")
    assert (hold.shown, hold.held, hold.is_unjudged) == ("", "One. Two. ", True)
    assert hold.passed(hold.window()) == hold.shown == "One. Two. "
    assert not hold.is_unjudged


def test_the_opening_is_held_until_there_is_enough_of_it() -> None:
    hold = held("One.")
    assert hold.passed(hold.window()) == ""
    hold.take([Segment(text=" Two.")])
    assert hold.passed(hold.window()) == "One. Two."
    long = held("x" * 30)
    assert long.passed(long.window()) == "x" * 30


def test_what_a_bound_has_cut_is_no_sentence_of_the_opening() -> None:
    hold = held("I", " cannot", " help", is_cut=True)
    assert hold.passed(hold.window()) == ""


def test_an_opening_that_a_bound_has_cut_is_held_for_twice_as_long() -> None:
    hold = held("I cannot.", " I will not.")
    hold.take([Segment(text=" I cannot help", is_cut=True)])
    assert hold.passed(hold.window()) == ""
    hold.take([Segment(text=" you but with this and that", is_cut=True)])
    assert hold.passed(hold.window()) != ""


def test_a_bare_refusal_is_held_however_long_it_is() -> None:
    hold = held("I cannot.", " I will not.", " I cannot help you with it.")
    assert hold.passed(hold.window(), is_bare_refusal=True) == ""
    hold.take([Segment(text=" But this is safe.")])
    assert hold.passed(hold.window()).endswith(" But this is safe.")


def test_an_opening_leaves_whole_because_only_all_of_it_is_known_to_be_no_bare_refusal() -> None:
    hold = held("I cannot.", " Ask Jo Doe", bounds=BOUNDS)
    assert hold.passed(hold.window(), spans=[Span(start=14, end=20)]) == ""
    hold.take([Segment(text=" instead.")])
    assert hold.passed(hold.window()) == "I cannot. Ask Jo Doe instead."


def test_after_text_was_shown_there_is_no_opening() -> None:
    hold = held(" On.", shown="Before.")
    assert hold.passed(hold.window(), is_bare_refusal=True) == " On."


def test_text_that_arrives_while_a_window_is_judged_stays_held() -> None:
    hold = held("One. ", "Two. ")
    window = hold.window()
    hold.take([Segment(text="Three. ")])
    assert hold.passed(window) == "One. Two. "
    assert (hold.held, hold.is_unjudged) == ("Three. ", True)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("call 030 12", "030 12"),
        ("call +49 (30) 12-34", "+49 (30) 12-34"),
        ("card 4111 1111", "4111 1111"),
        ("DE89 3704", "DE89 3704"),
        ("about 5 of them", ""),
        ("about 5\n", ""),
        ("it is - so", ""),
        ("7" * 500, "7" * 64),
    ],
)
def test_a_number_that_touches_a_cut_is_held_from_its_beginning(text: str, kept: str) -> None:
    assert text[number_start(text) :] == kept
    hold = held(text, is_cut=True, shown="On. ")
    assert hold.passed(hold.window()) == text[: len(text) - len(kept)]
    ended = held(text, shown="On. ")
    assert ended.passed(ended.window()) == text, "a sentence's end ends it"


def test_a_match_that_touches_the_end_is_held_and_one_before_it_is_not() -> None:
    hold = held("Ask Jo Doe or Al Bo", shown="On. ")
    spans = [Span(start=8, end=14), Span(start=18, end=23)]
    assert hold.passed(hold.window(), spans=spans) == "Ask Jo Doe or "
    assert touching_from("name \n", [Span(start=0, end=4)]) == 0, "white space after it does not end it"


def test_at_the_end_everything_leaves() -> None:
    hold = held("It is 5", is_cut=True)
    hold.take((), is_end=True)
    window = hold.window()
    assert (window.is_end, window.is_whole) == (True, True)
    assert hold.passed(window, spans=[Span(start=6, end=7)], is_bare_refusal=True) == "It is 5"


def test_a_redaction_changes_only_what_is_held() -> None:
    hold = held(" Call 0301.", shown="Before it.")
    window = hold.window()
    again = hold.redacted(window, window.text.replace("0301", "[removed]"))
    assert hold.passed(again) == " Call [removed]."
    with pytest.raises(ValueError, match="has left"):
        hold.redacted(hold.window(), "After it. Call [removed].")


def test_a_window_that_was_shortened_lets_only_its_own_text_leave() -> None:
    hold = held("Ask Jo Doe", bounds=OPEN)
    window = shortened(hold.window(), 4)
    assert hold.passed(window) == "Ask "
    assert (hold.held, hold.is_unjudged) == ("Jo Doe", False)


@given(lengths=st.lists(st.integers(1, 80), min_size=1, max_size=120))
def test_judging_costs_time_in_proportion_to_the_answers_length(lengths: list[int]) -> None:
    hold = HoldBack(OPEN)
    judged = 0
    for length in lengths:
        hold.take([Segment(text="x" * length)])
        window = hold.window()
        judged += len(window.text)
        hold.passed(window)
    hold.take((), is_end=True)
    judged += len(hold.window().text)
    total = sum(lengths)
    windows = len(lengths) * OPEN.context_characters + total
    assert judged <= windows + 2 * total + total


@given(
    texts=st.lists(st.text("ab 12.\n", min_size=1, max_size=20), min_size=1, max_size=30),
    data=st.data(),
)
def test_what_was_shown_is_always_a_prefix_of_what_was_judged_and_never_shrinks(
    texts: list[str], data: st.DataObject
) -> None:
    hold, seen = HoldBack(BOUNDS), ""
    for text in texts:
        hold.take([Segment(text=text, is_cut=data.draw(st.booleans()))])
        if data.draw(st.booleans()):
            continue
        window = hold.window()
        judged = hold.text
        leaving = hold.passed(window, is_bare_refusal=data.draw(st.booleans()))
        assert hold.shown == seen + leaving
        assert judged.startswith(hold.shown)
        assert judged.endswith(window.text)
        seen = hold.shown
    assert hold.text == "".join(texts)
