"""Server-sent events: fed whole, one by one and cut anywhere, the same events come out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.endpoint.sse import SseParser

STREAM = (
    b"\xef\xbb\xbf: hello\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata:  three\n\n"
    b'id: 4\rdata: {"a": "\xc3\xa9"}\r\rdata\n\n\n\ndata: late'
)
EVENTS = [b"one", b"two\n three", b'{"a": "\xc3\xa9"}', b""]


def test_a_stream_fed_whole_gives_its_events_and_not_the_unfinished_one() -> None:
    assert SseParser().feed(STREAM) == EVENTS


def test_a_stream_fed_byte_by_byte_gives_the_same_events() -> None:
    parser = SseParser()
    assert [found for index in range(len(STREAM)) for found in parser.feed(STREAM[index : index + 1])] == EVENTS


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=12))
def test_a_stream_cut_anywhere_gives_the_same_events(cuts: list[int]) -> None:
    parser = SseParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(edges)]
    assert [found for piece in pieces for found in parser.feed(piece)] == EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_out_as_soon_as_its_empty_line_is(end: bytes) -> None:
    assert SseParser().feed(b"data: [DONE]" + end + end) == [b"[DONE]"]


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_without_an_error(data: bytes) -> None:
    SseParser().feed(data)
