"""The offset map says exactly what is done, always fits, and never decodes into something that was not written.

| guard                              | test that fails without it                                        |
|------------------------------------|-------------------------------------------------------------------|
| trailing incompletes left out      | test_nothing_done_above_the_base_is_the_empty_text                |
| deflated only where it is shorter  | test_a_regular_map_is_deflated_and_an_irregular_one_is_not         |
| bounds of what is encoded          | test_what_is_out_of_bounds_is_not_encoded                         |
| budget                             | test_a_map_over_the_budget_is_not_encoded                         |
| incomplete_max                     | test_the_worst_map_of_every_budget_fits                           |
| version, base64, checksum, base,   | test_what_was_not_written_is_unreadable and                       |
| varints, ranges, length, inflation | test_a_changed_character_is_unreadable_or_means_the_same          |
"""

import random
import zlib
from base64 import b64decode, b64encode
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from topology.contract.errors import UnreadableMap
from topology.delivery.offset_map import INCOMPLETE_MAX, SPAN_MAX, decode, encode, incomplete_max

BASES = st.integers(0, 1 << 62)
GAPS = st.one_of(
    st.integers(1, 3),
    st.sampled_from([127, 128, 16_383, 16_384, (1 << 21) - 1, 1 << 21]),
    st.integers(1, SPAN_MAX),
)


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """(base, next, incomplete offsets), gaps as adverse as they come, within the bounds."""
    base = draw(BASES)
    gaps = draw(st.lists(GAPS, max_size=INCOMPLETE_MAX))
    offsets: list[int] = []
    offset = base + draw(st.integers(0, 200)) - 1
    for gap in gaps:
        if offset + gap >= base + SPAN_MAX:
            break
        offset = offset + gap
        offsets.append(offset)
    end = max(base, offset + 1) + draw(st.integers(0, 300))
    return base, min(end, base + SPAN_MAX), offsets


@given(windows())
def test_what_is_decoded_is_what_was_not_done(window: tuple[int, int, list[int]]) -> None:
    base, next_offset, offsets = window
    text = encode(base, next_offset, reversed(offsets))
    found = decode(text, base)
    assert base <= found.next <= next_offset
    # From `next` on everything is read, so what the shorter map leaves out was incomplete.
    assert set(range(found.next, next_offset)) <= set(offsets)
    assert list(found.incomplete) == [offset for offset in offsets if offset < found.next]
    assert len(text) <= 4096
    assert text.isascii()


@pytest.mark.parametrize(
    ("base", "next_offset", "offsets"),
    [(7, 7, []), (7, 10, [7, 8, 9]), (0, 1, [0]), (7, 10, [9, 8, 7])],
)
def test_nothing_done_above_the_base_is_the_empty_text(base: int, next_offset: int, offsets: list[int]) -> None:
    assert encode(base, next_offset, offsets) == ""


def test_the_empty_text_means_that_everything_is_to_be_read() -> None:
    found = decode("", 12)
    assert (found.next, found.incomplete) == (12, ())


@given(BASES, st.integers(0, 128), st.integers(0, 490), st.integers(0, 1000))
@example(0, 0, 490, 0)
def test_1024_offsets_over_the_whole_span_fit_4096_characters(base: int, start: int, wide: int, seed: int) -> None:
    """As many deltas of three bytes as the span allows, the others of two."""
    gaps = [16_384 + seed % 500] * wide + [128] * (INCOMPLETE_MAX - wide)
    random.Random(seed).shuffle(gaps)
    offsets = list(accumulate(gaps[1:], initial=base + start))
    assert len(offsets) == INCOMPLETE_MAX
    assert len(encode(base, base + SPAN_MAX, offsets)) <= 3427


@pytest.mark.parametrize("budget_chars", [19, 20, 24, 32, 64, 100, 256, 512, 1000, 1567, 1600, 2048, 2500, 3000, 3427])
def test_the_worst_map_of_every_budget_fits(budget_chars: int) -> None:
    count = incomplete_max(budget_chars)
    assert 1 <= count <= INCOMPLETE_MAX
    for big_count in range(4):
        offsets, left = [0], SPAN_MAX - 1
        for index in range(count):
            gap = (1 << 21) if index < big_count else 16_384
            gap = gap if left - gap > (count - index) * 128 else 128
            left -= gap
            offsets.append(offsets[-1] + gap)
        assert len(encode(0, SPAN_MAX, offsets[1:], budget_chars=budget_chars)) <= budget_chars


def test_the_whole_count_fits_the_default_budget_and_none_fits_a_tiny_one() -> None:
    assert incomplete_max() == INCOMPLETE_MAX
    assert incomplete_max(10_000) == INCOMPLETE_MAX
    with pytest.raises(ValueError, match="18 characters"):
        incomplete_max(18)


def test_a_regular_map_is_deflated_and_an_irregular_one_is_not() -> None:
    assert encode(0, 3001, range(0, 3000, 3)).startswith("z1.")
    assert len(encode(0, 3001, range(0, 3000, 3))) < 60
    assert encode(0, 40, [1, 3, 9]).startswith("g1.")


@pytest.mark.parametrize(
    ("base", "next_offset", "offsets", "message"),
    [
        (5, 10, [4], "outside"),
        (5, 10, [10], "outside"),
        (0, SPAN_MAX + 1, [0], "out of bounds"),
        (0, 4 * INCOMPLETE_MAX, range(0, 2 * INCOMPLETE_MAX + 2, 2), "out of bounds"),
    ],
)
def test_what_is_out_of_bounds_is_not_encoded(base: int, next_offset: int, offsets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(base, next_offset, offsets)


def test_a_map_over_the_budget_is_not_encoded() -> None:
    text = encode(0, 40, [1, 3, 9])
    assert encode(0, 40, [1, 3, 9], budget_chars=len(text)) == text
    with pytest.raises(ValueError, match="characters"):
        encode(0, 40, [1, 3, 9], budget_chars=len(text) - 1)


def plain(raw: bytes, base: int = 5, *, version: str = "g1.") -> str:
    """A text with a right checksum around `raw`."""
    checksum = (zlib.crc32(raw, zlib.crc32(base.to_bytes(8, "big"))) & 0xFFFF).to_bytes(2, "big")
    packed = raw + checksum
    if version == "z1.":
        packed = zlib.compress(packed, 9, wbits=-12)
    return version + b64encode(packed).decode()


GOOD = encode(5, 30, [5, 7, 20])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("g2." + GOOD[3:], "version"),
        ("x", "version"),
        ("\x01\x02streams", "version"),
        ("g1.", "length"),
        ("g1.AAA=", "length"),
        (GOOD + "AAAA", "checksum"),
        (GOOD + "!", "base64"),
        (GOOD + "é", "base64"),
        ("g1." + GOOD[3:].rstrip("=") + "\n", "base64"),
        (encode(6, 30, [7, 20]), "checksum"),
        (plain(b"\x05\x01\x80"), "cut short"),
        (plain(b"\x05\x81\x00"), "varint"),
        (plain(b"\x80\x80\x80\x80\x01"), "varint"),
        (plain(b"\x00"), "range"),
        (plain(b"\x05\x05"), "range"),
        (plain(b"\x81\x80\x80\x04"), "range"),
        (plain(b"\xff\x7f" + b"\x01" * (INCOMPLETE_MAX + 1)), "range"),
        (plain(b"\x05\x01\x00"), "repeated"),
        (plain(bytes(6000)), "length"),
        (plain(bytes(10_000_000), version="z1."), "trailing or missing"),
        ("z1." + GOOD[3:], "deflated"),
        (plain(b"\x05\x01", version="z1.")[:-4], "missing"),
    ],
)
def test_what_was_not_written_is_unreadable(text: str, fault: str) -> None:
    with pytest.raises(UnreadableMap, match=fault):
        decode(text, 5)


def test_bytes_after_the_deflated_map_are_unreadable() -> None:
    text = plain(b"\x05\x01", version="z1.")
    assert decode(text, 5).incomplete == (6,)
    with pytest.raises(UnreadableMap, match="trailing"):
        decode("z1." + b64encode(b64decode(text[3:]) + b"\x00").decode(), 5)


@given(windows(), st.data())
def test_a_changed_character_is_unreadable_or_means_the_same(
    window: tuple[int, int, list[int]], data: st.DataObject
) -> None:
    """Two bytes of checksum let one change in 65536 through where it lies within the checksum's reach; one character
    changes at most two neighbouring bytes, and a CRC finds every such burst of up to 16 bits in what is not packed."""
    base, next_offset, offsets = window
    text = encode(base, next_offset, offsets)
    if not text.startswith("g1."):
        return
    index = data.draw(st.integers(0, len(text) - 1))
    changed = text[:index] + data.draw(st.sampled_from("AZaz09+/=.g")) + text[index + 1 :]
    if changed != text:
        with pytest.raises(UnreadableMap):
            decode(changed, base)
