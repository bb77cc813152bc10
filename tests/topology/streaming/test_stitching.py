"""The seam between what was shown and what goes on from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.streaming.stitching import Stitch

SHOWN = "Water boils at sea level.\nIt takes a while to heat."


def stitched(shown: str, text: str) -> str:
    stitch = Stitch(shown)
    return "".join([stitch.feed(character) for character in text]) + stitch.end()


@pytest.mark.parametrize(
    ("shown", "text", "added"),
    [
        (SHOWN, "Then pour it.", " Then pour it."),
        (SHOWN, " Then pour it.", " Then pour it."),
        (SHOWN, "\n- pour it", "\n- pour it"),
        (SHOWN, ", at least.", ", at least."),
        (SHOWN, f"{SHOWN} Then pour it.", " Then pour it."),
        (SHOWN, "It takes a while to heat. Then pour it.", " Then pour it."),
        (SHOWN, "Water is wet.", " Water is wet."),
        (SHOWN, SHOWN, ""),
        ("水在一百度沸腾。", "然后倒出来。", "然后倒出来。"),
        ("Ends here.\n", "Then more.", "Then more."),
        ("", "Then more.", "Then more."),
        (SHOWN, "Water", " Water"),
    ],
)
def test_a_repetition_is_left_out_and_a_missing_space_is_added(shown: str, text: str, added: str) -> None:
    assert stitched(shown, text) == added


@given(shown=st.text("ab \n", max_size=30), text=st.text("ab \n", max_size=30), data=st.data())
def test_the_seam_does_not_depend_on_how_the_text_arrives(shown: str, text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    stitch = Stitch(shown)
    parts = [stitch.feed(part) for part in (text[:place], text[place:]) if part]
    assert "".join(parts) + stitch.end() == stitched(shown, text)
