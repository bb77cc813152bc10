"""Marks keep which letters were put back, always fit, and are never guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.delivery.offset_map import BUDGET_CHARS
from workers.commands.recovery.redriven_marks import SEGMENT_LETTERS, Marks, segment_of

OFFSETS = st.sets(st.integers(0, SEGMENT_LETTERS - 1), max_size=200)


@given(st.integers(0, 1000), st.integers(0, 2**40), OFFSETS)
def test_what_is_marked_comes_back(partition: int, number: int, offsets: set[int]) -> None:
    first = number * SEGMENT_LETTERS
    marks, loaded = Marks(), Marks()
    for offset in offsets:
        assert marks.add(partition, first + offset) == (partition, number)
    loaded.load((partition, number), marks.text((partition, number)))
    found = {o for o in range(SEGMENT_LETTERS) if o in offsets or o % 97 == 0 if loaded.holds(partition, first + o)}
    assert found == offsets
    assert loaded.next_offset((partition, number)) == first + (max(offsets) + 1 if offsets else 0)
    assert not loaded.holds(partition + 1, first)


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_full_segment_fits_the_brokers_default(step: int) -> None:
    marks = Marks()
    for offset in range(0, SEGMENT_LETTERS, step):
        marks.add(0, offset if offset * offset % 7 < 4 else 0)
    assert len(marks.text((0, 0))) <= 2739 < BUDGET_CHARS


def test_only_segments_with_a_mark_are_written() -> None:
    marks = Marks()
    marks.load((0, 0), "")
    assert marks.segments() == frozenset()
    marks.add(3, SEGMENT_LETTERS)
    assert marks.segments() == {segment_of(3, SEGMENT_LETTERS)} == {(3, 1)}


def _text() -> str:
    marks = Marks()
    for offset in range(0, 900, 7):
        marks.add(0, offset)
    return marks.text((0, 0))


@pytest.mark.parametrize(
    "text",
    ["g1.AAAA", "m1.", "m1.!", "n1.AAAA", "nonsense", _text()[:-4], _text().replace("m1.", "n1.", 1) + "A"],
    ids=lambda text: text[:9],
)
def test_what_is_not_ours_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="not the text of marks"):
        Marks().load((0, 0), text)


def test_marks_of_another_segment_are_not_read() -> None:
    with pytest.raises(ValueError, match="not the text of marks"):
        Marks().load((1, 0), _text())
