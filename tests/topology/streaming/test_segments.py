# ruff: noqa: RUF001 - marks of many scripts
"""Segments of an answer: where they end, in many scripts, however the text arrives."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.streaming.segments import Segment, SegmentBounds, Segmenter

WIDE = SegmentBounds()
BOUNDS = SegmentBounds(characters_max=40, fence_characters_max=60, age_max_ms=1000)
PIECES = (
    *("Hello", " world", ". ", "! ", "? ", "...", "\n", "\n\n", "e.g. ", "Dr. ", "3.14", "1. ", "1969. ", "- item"),
    *(
        "```",
        "``",
        "~~~",
        "`",
        "python\n",
        "x = 1\n",
        "\n```\n",
        "好。",
        "你好，",
        "مرحبا؟ ",
        "שלום. ",
        "नमस्ते।",
        "e\u0301",
    ),
    *("👩\u200d👩\u200d👧", "\t", " ", "A", "b", '"', "”", ")", "«Да.» ", "12 ", "”。"),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join) | st.text(max_size=200)


def cut(text: str, pieces: Sequence[str] | None = None, bounds: SegmentBounds = BOUNDS) -> list[Segment]:
    segmenter = Segmenter(bounds)
    segments = [segment for piece in pieces or [text] for segment in segmenter.feed(piece, 0)]
    return segments + segmenter.end()


def texts(text: str, bounds: SegmentBounds = WIDE) -> list[str]:
    return [segment.text for segment in cut(text, list(text), bounds)]


@given(text=TEXTS, data=st.data())
def test_segments_do_not_depend_on_how_the_text_arrives_and_joined_they_are_the_text(
    text: str, data: st.DataObject
) -> None:
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=20)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    whole = cut(text)
    assert cut(text, pieces) == whole
    assert cut(text, list(text)) == whole
    assert "".join(segment.text for segment in whole) == text
    assert all(segment.text for segment in whole)


@given(text=TEXTS)
def test_no_segment_is_longer_than_its_bound(text: str) -> None:
    for segment in cut(text):
        is_code = "```" in segment.text or "~~~" in segment.text
        assert len(segment.text) <= (BOUNDS.fence_characters_max if is_code else BOUNDS.characters_max) + 1


@given(text=TEXTS, steps=st.lists(st.integers(0, 1500), min_size=1, max_size=200))
def test_with_time_the_segments_joined_are_still_the_text(text: str, steps: list[int]) -> None:
    segmenter, now_ms, got = Segmenter(BOUNDS), 0, ""
    for index, character in enumerate(text):
        now_ms += steps[index % len(steps)]
        got += "".join(segment.text for segment in segmenter.feed(character, now_ms))
        assert text.startswith(got)
        assert got + segmenter.waiting == text[: index + 1]
    assert got + "".join(segment.text for segment in segmenter.end()) == text


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("One. Two! Three? Four", ["One.", " Two!", " Three?", " Four"]),
        (
            "See Dr. Smith, e.g. at 3.14 p.m. today. Then rest.",
            ["See Dr. Smith, e.g. at 3.14 p.m. today.", " Then rest."],
        ),
        ("Am 3. Oktober kam er. Er ging, z. B. heim.", ["Am 3. Oktober kam er.", " Er ging, z. B. heim."]),
        ("Call 0301. 2345 is it.", ["Call 0301. 2345 is it."]),
        ('He said "No." Then he left.', ['He said "No."', " Then he left."]),
        ("1. Mix.\n2. Stir.\n- Rest\n", ["1. Mix.\n", "2. Stir.\n", "- Rest\n"]),
        ("你好。我很好！「是。」他说", ["你好。", "我很好！", "「是。」", "他说"]),
        ("مرحبا. كيف حالك؟ بخير.", ["مرحبا.", " كيف حالك؟", " بخير."]),
        ("שלום. מה שלומך? טוב.", ["שלום.", " מה שלומך?", " טוב."]),
        ("यह है। वह है।", ["यह है।", " वह है।"]),
        ("Wait... what? Yes.", ["Wait... what?", " Yes."]),
        ("A.\n\n```py\nx = 1.\n\ny\n```\nDone.", ["A.\n", "\n```py\nx = 1.\n\ny\n```\n", "Done."]),
        ("Use ```x``` here. Then stop.", ["Use ```x``` here.", " Then stop."]),
        ("```x``` is code. Stop.", ["```x``` is code.", " Stop."]),
        ("````\n```\n````\nEnd", ["````\n```\n````\n", "End"]),
    ],
)
def test_a_segment_ends_with_a_sentence_a_line_or_a_block_of_code(text: str, segments: list[str]) -> None:
    assert texts(text) == segments


def test_a_long_block_of_code_is_one_segment_up_to_its_bound_and_then_its_lines() -> None:
    lines = [f"line_{number} = {number}\n" for number in range(9)]
    text = "```\n" + "".join(lines) + "```\nAfter. It"
    got = texts(text, BOUNDS)
    assert got[0] == "```\n" + "".join(lines[:5])
    assert got[1:5] == lines[5:]
    assert got[5:] == ["```\n", "After.", " It"]


def test_a_text_without_an_end_is_cut_between_words_and_says_so() -> None:
    first, *_ = cut("word " * 20)
    assert first == Segment(text=("word " * 8).rstrip(), is_cut=True)


def test_a_text_without_white_space_is_cut_after_a_clause_or_between_whole_characters() -> None:
    assert texts("字" * 30 + "，" + "字" * 30, BOUNDS)[0] == "字" * 30 + "，"
    accented = texts("e\u0301" * 30, BOUNDS)
    assert all(not segment.startswith("\u0301") for segment in accented)


def test_after_its_time_a_segment_is_cut_after_its_last_whole_word() -> None:
    segmenter = Segmenter(BOUNDS)
    assert segmenter.feed("The answer is", 0) == []
    assert segmenter.feed(" for", 999) == []
    assert segmenter.feed("ty", 1000) == [Segment(text="The answer is", is_cut=True)]
    assert segmenter.waiting == " forty"


def test_after_its_time_a_block_of_code_is_cut_after_its_last_whole_line_and_goes_on_by_lines() -> None:
    segmenter = Segmenter(BOUNDS)
    assert segmenter.feed("```\na = 1.\nb", 0) == []
    assert segmenter.feed(" = 2", 1000) == [Segment(text="```\na = 1.\n", is_cut=True)]
    assert [segment.text for segment in segmenter.feed("\nc. D\n```\nOut. In", 1001)] == [
        "b = 2\n",
        "c. D\n",
        "```\n",
        "Out.",
    ]
