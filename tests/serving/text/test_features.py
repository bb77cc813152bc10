# ruff: noqa: RUF001
"""Hashed n-grams: stable, bounded, blind to disguise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.text.features import (
    BUCKETS,
    CHARACTERS_MAX,
    WINDOW_CHARACTERS,
    WINDOW_OVERLAP,
    WindowError,
    features,
    fold,
    windows,
)


def test_the_same_text_has_the_same_buckets_on_every_machine() -> None:
    sparse = features("hello world")
    assert sparse.buckets.tolist()[:3] == [41759, 47140, 63760]
    assert len(sparse.buckets) == len(sparse.values)


@given(st.text(max_size=300))
def test_features_have_unit_length_or_are_empty(text: str) -> None:
    sparse = features(windows(text)[0])
    length = float(np.sqrt((sparse.values.astype(np.float64) ** 2).sum()))
    assert length == 0 or 0.70 < length < 1.001
    assert all(0 <= bucket < BUCKETS for bucket in sparse.buckets)


@pytest.mark.parametrize(
    "disguised",
    ["BOMB", "b\u200bomb", "bоmb", "ｂｏｍｂ", "bo\u00admb"],
)
def test_case_invisible_wide_and_look_alike_letters_do_not_hide_a_word(disguised: str) -> None:
    assert fold(disguised) == "bomb"


SMALL_CAPITALS = str.maketrans("abcdefghijklmnopqrtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫʀᴛᴜᴠᴡʏᴢ")


def test_small_capitals_are_letters() -> None:
    for text in ("how to make a bomb", "i want to quit, quickly", "hi"):
        assert fold(text.translate(SMALL_CAPITALS)) == text


@pytest.mark.parametrize(
    "text",
    [
        "/ˈlɪŋɡwɪstɪks/ ðə wɪl ɪn bɪɡ ʃɪps",
        "ɔkɔm de me paa, ɛyɛ",
        "ǫ́shį́į́ diné bizaad",
        "bɑ̃ʒuʀ",
        "ÇIĞ köfte, ılık süt".lower(),
    ],
)
def test_letters_of_phonetics_and_of_other_alphabets_stay(text: str) -> None:
    assert fold(text) == fold(fold(text))
    assert [letter for letter in text if ord(letter) > 0x24F and letter not in fold(text)] == []


def test_a_text_in_another_script_keeps_its_letters() -> None:
    assert fold("дом") == "дом"


@given(st.text(alphabet="ab ", max_size=9_000))
def test_windows_cover_the_whole_text(text: str) -> None:
    whole = " ".join(text.split())
    stretches = windows(text)
    joined = stretches[0] + "".join(stretch[WINDOW_OVERLAP:] for stretch in stretches[1:])
    assert joined == whole
    assert all(len(stretch) <= WINDOW_CHARACTERS for stretch in stretches)


def test_a_text_that_is_too_long_is_refused_not_shortened() -> None:
    with pytest.raises(WindowError):
        windows("a" * (CHARACTERS_MAX + 1))
