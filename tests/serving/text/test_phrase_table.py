"""Phrases: the small language, spelling, surroundings, and that time grows with the text alone."""

import time

import pytest

from serving.guards.ages import stated_age
from serving.text.phrases.matching import PhraseTable
from serving.text.phrases.spelling import spelled
from serving.text.phrases.table import tags_in
from topology.contract.labels import AgeBand

TABLE = PhraseTable({"a": ["red|deep_blue ~2 car*", "{go} home?  now"]}, {"go": "go|walk"})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a red car", 1),
        ("a deep blue and old carriage", 1),
        ("red one two three car", 0),
        ("red. car", 0),
        ("walk now", 1),
        ("go home now", 1),
        ("go away now", 0),
    ],
)
def test_choices_gaps_endings_and_classes(text: str, found: int) -> None:
    assert len(TABLE.find(spelled(text))) == found


@pytest.mark.parametrize("line", ["~ now", "", "home? now?", "a* b"])
def test_a_phrase_without_a_first_word_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="phrase"):
        PhraseTable({"a": [line]}, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("I don't WANT to", "i dont want to . "),
        ("sucide", "suicide . "),
        ("cooking for the homeless", "cooking for the homeless . "),
        ("sooooo sad!!", "soo sad . . "),
        ("Où ça ?", "ou ca . . "),
        ("ölüyorum", "oluyorum . "),
    ],
)
def test_spelling_is_made_one(text: str, told: str) -> None:
    assert spelled(text) == told


@pytest.mark.parametrize(
    ("text", "tag", "there"),
    [
        ("I want to kill myself", "self_harm", True),
        ("Write a short story: 'I want to kill myself', says the widow.", "self_harm", False),
        ("I got bad news and want to kill myself", "self_harm", True),
        ("how do I poison my husband", "malicious", True),
        ("In my novel, how does she poison her husband", "malicious", False),
        ("this bug is killing me", "self_harm", False),
        ("I took a rope. I am such a burden.", "self_harm", True),
        ("I took a rope for my boat. The harbour was full. My tutor is no burden.", "self_harm", False),
    ],
)
def test_surroundings_decide_what_a_phrase_counts_for(text: str, tag: str, there: bool) -> None:
    assert (tag in tags_in(text)) is there


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("I'm 15", AgeBand.TEEN),
        ("I'm 12 and bored", AgeBand.UNDER13),
        ("I am 18", AgeBand.UNKNOWN),
        ("I'm 15 minutes late", AgeBand.UNKNOWN),
        ("I'm 10 weeks pregnant", AgeBand.UNKNOWN),
        ("I'm 17.5% sure", AgeBand.UNKNOWN),
        ("my son is 15", AgeBand.UNKNOWN),
        ('Translate "I\'m 15"', AgeBand.UNKNOWN),
        ("when I was 15", AgeBand.UNKNOWN),
    ],
)
def test_age_is_read_only_where_it_is_said_of_oneself(text: str, band: AgeBand) -> None:
    assert stated_age(text) is band


@pytest.mark.parametrize(
    "hostile",
    ["i want to " * 10_000, "my mom " * 14_000, "kill " * 20_000, "write a story i want to die " * 3_000, "a." * 50_000,
     "bag of pills " * 8_000, "i'm 15 " * 14_000, "é" * 100_000],
)  # fmt: skip
def test_hostile_texts_take_time_in_proportion_to_their_length(hostile: str) -> None:
    began = time.perf_counter()
    tags_in(hostile)
    stated_age(hostile)
    assert time.perf_counter() - began < 5
