"""Phrases: their small language, their files, spelling, surroundings, and work that grows with the text alone."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from serving.guards.ages import stated_age
from serving.text.features import fold
from serving.text.lexicon import TERMS_FILE, TermsError, hits_in, read_terms
from serving.text.phrase_matching import PhraseError, PhraseReader, PhraseTable
from serving.text.phrases import PHRASES_FOLDER, read_phrases, tags_in
from serving.text.spelling import spelled
from topology.contract.labels import AgeBand
from topology.policy.document_bounds import check_yaml

READER = PhraseReader({"go": ["go", "walk"]})
TABLE = PhraseTable(
    [READER.read("a", line) for line in ("red|deep_blue ~2 car*", "{go}|run_off home?  now", "so a|a_b *")]
)


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
        ("run off home now", 1),
        ("run home now", 0),
        ("so a", 0),
        ("so a.", 0),
        ("so a b c", 1),
        ("it is so. A red car", 1),
    ],
)
def test_choices_gaps_endings_and_classes(text: str, found: int) -> None:
    assert len(TABLE.find(spelled(text))) == found


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("a red and old car", "red and old car "),
        ("so a b c", "so a b "),  # the first alternative that lets the rest follow
        ("run off now", "run off now "),
    ],
)
def test_a_hit_says_where_the_phrase_stands(text: str, span: str) -> None:
    told = spelled(text)
    hit = TABLE.find(told)[0]
    assert told[hit.start : hit.end] == span


def test_of_one_tag_the_first_phrase_is_the_hit_and_every_tag_has_its_own() -> None:
    lines = (("a", "red car"), ("a", "red"), ("b", "red"))
    table = PhraseTable([READER.read(tag, line) for tag, line in lines])
    assert [(hit.tag, hit.end) for hit in table.find(spelled("red car"))] == [("a", 8), ("b", 4)]


def test_a_phrase_is_found_wherever_it_stands_in_a_long_text() -> None:
    filler = "word " * 7
    told = spelled(" ".join(f"{filler * count}red car" for count in range(12)))
    assert len(TABLE.find(told)) == 12


def test_no_phrases_find_nothing() -> None:
    assert PhraseTable([]).find(spelled("a red car")) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("~ now", "starts with a gap"),
        ("home? ~ now", "starts with a gap"),
        ("", "nothing in it is required"),
        ("home? now?", "nothing in it is required"),
        ("ab* b", "it starts with a stem of less than 3"),
        ("home a*", "`a*` has a stem of less than 2"),
        ("home ~few now", "~few is no gap"),
        ("{car} home", "there is no class car"),
        ("home|{go} now", "`{go}` is never found"),
        ("e-mail", "`e-mail` is never found"),
        ("sucide note", "`sucide` is never found"),
        ("home||now", "`` is never found"),
    ],
)
def test_a_phrase_that_is_never_found_or_always_is_refused(line: str, why: str) -> None:
    with pytest.raises(PhraseError) as caught:
        READER.read("a", line)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("phrases: {danger: [fire, ~ now]}", "some.yaml: danger: `~ now`: it starts with a gap"),
        ("phrases: {danger: fire}", "some.yaml: Expected `array`, got `str` - at `$.phrases[...]`"),
        ("phrases: {danger: [no]}", "some.yaml: Expected `str`, got `bool` - at `$.phrases[...][0]`"),
        ("phrase: {danger: [fire]}", "some.yaml: Object contains unknown field `phrase`"),
        ("patterns: {danger: [火, '(']}", "some.yaml: danger: `(`: missing ), unterminated subpattern"),
        ("patterns: {danger: [火, 'x?']}", "some.yaml: danger: `x?`: it matches every text"),
        ("rules: [{tag: danger, cues: [cue.fire]}]", "rules: danger: there is no cue cue.fire"),
    ],
)
def test_a_file_of_phrases_is_refused_with_its_name_and_the_entry(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "some.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(PhraseError) as caught:
        read_phrases(tmp_path)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("terms: {a: [b]}", "terms.yaml: Object missing required field `rules`"),
        ("terms: {a: [b]}\nrules: [{category: x, topics: [c]}]", "terms.yaml: rules: x: there are no terms c"),
    ],
)
def test_a_file_of_terms_is_refused_with_its_name_and_the_entry(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TermsError) as caught:
        read_terms(path)
    assert str(caught.value).startswith(why)


def test_no_packaged_file_says_a_name_twice() -> None:
    for path in (*sorted(PHRASES_FOLDER.glob("*.yaml")), TERMS_FILE):
        check_yaml(path.read_bytes(), path.name)  # raises: of two lists of one name the second would stand alone


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


@contextmanager
def _counted() -> Generator[list[int]]:
    """Count the calls of Python functions: work that no other load of the machine changes."""
    count = [0]

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        count[0] += event == "call"

    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(None)


def _calls(judge: Callable[[str], object], text: str) -> int:
    with _counted() as count:
        judge(text)
    return count[0]


HOSTILE = ("i want to ", "my mom ", "kill ", "write a story i want to die ", "a.", "bag of pills ", "i'm 15 ", "é")


@pytest.mark.parametrize("piece", HOSTILE)
def test_work_grows_with_the_length_of_a_text_alone(piece: str) -> None:
    hits_in("")  # builds the tables
    short = piece * (1_000 // len(piece))
    judged: Callable[[str], object] = lambda text: (hits_in(fold(text)), stated_age(text))  # noqa: E731
    assert _calls(judged, short * 4) <= 4 * _calls(judged, short) + 1_000
