"""What the policy obliges a draft to contain is found in every language, and only where it is said."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.guards.obligations.markers import (
    LANGUAGES,
    languages_of,
    markers,
    obligations_present,
)
from serving.text.features import fold
from tests.effort import examples
from tests.proportion import is_in_proportion
from topology.policy.bundle import HelpLine
from topology.policy.loading import packaged_bundle

BUNDLE = packaged_bundle()
SENTENCES = msgspec.yaml.decode(
    (Path(__file__).parent / "obligation_sentences.yaml").read_bytes(), type=dict[str, dict[str, str]]
)
DIRECTED = {"referral", "teen_support"}


def present(text: str, region: str = "", lines: dict[str, HelpLine] = BUNDLE.help_lines) -> set[str]:
    return set(obligations_present(fold(text), region, lines))


@pytest.mark.parametrize("language", SENTENCES)
def test_each_obligation_is_found_in_a_native_speaker_s_words(language: str) -> None:
    sentences = {name: text for name, text in SENTENCES[language].items() if name in BUNDLE.obligations}
    missed = [name for name, text in sentences.items() if name not in present(text)]
    assert missed == []


@pytest.mark.parametrize("language", SENTENCES)
def test_sending_somebody_away_from_a_professional_is_no_referral(language: str) -> None:
    assert not DIRECTED & present(SENTENCES[language]["dismissed"])


@pytest.mark.parametrize("language", SENTENCES)
def test_a_recipe_meets_no_obligation_towards_a_person(language: str) -> None:
    acts = {"first_steps", "pause_and_distance"}
    assert present(SENTENCES[language]["plain"]) - acts == set()


def test_every_language_has_sentences_for_every_obligation() -> None:
    assert {language.partition("-")[0] for language in SENTENCES} == set(LANGUAGES)
    lacking = {language: BUNDLE.obligations.keys() - SENTENCES[language].keys() for language in LANGUAGES}
    assert not {language: names for language, names in lacking.items() if names}


def test_a_region_with_a_line_wants_its_own() -> None:
    assert "crisis_line" in present("Call 988 at any hour.", "US")
    assert "crisis_line" not in present("Call a crisis line.", "US")
    assert "crisis_line" not in present("Call Samaritans on 116 123.", "US")
    assert "crisis_line" in present("Call a crisis line.", "IT")
    assert "crisis_line" in present("Call a crisis line.")


@pytest.mark.parametrize(
    "spelt", ["0800 111 0 111", "0800-1110111", "0800/111 0 111", "0800.111.0.111", "0800 - 111 0111"]
)
def test_a_number_counts_however_it_is_spaced(spelt: str) -> None:
    assert "crisis_line" in present(f"Rund um die Uhr: {spelt}.", "DE")
    assert "crisis_line" not in present(f"Rund um die Uhr: {spelt}2.", "DE")


def test_digits_of_other_scripts_are_digits() -> None:
    assert "crisis_line" in present("टेली: १४४१६", "IN")
    assert "emergency_number" in present("اتصل على ١٢٣ الآن")


def test_where_the_region_is_unknown_any_line_of_the_draft_s_language_does() -> None:
    assert "crisis_line" in present("You can text 988 now, or ring 116 123 if you are in Ireland.")
    assert "crisis_line" in present("Du kannst jetzt die 142 anrufen, wenn du in Wien bist.")
    assert "crisis_line" not in present("Du kannst jetzt die 988 anrufen, wenn du in Wien bist.")


def test_a_draft_in_a_language_without_a_file_is_read_in_all() -> None:
    assert "crisis_line" in present("Ρωτήστε: telefonseelsorge, samaritans, любой номер")


def test_obligations_are_found_in_every_language_of_the_templates() -> None:
    for words in BUNDLE.templates.values():
        assert "crisis_line" in present(words["crisis_line_generic"])
        assert "emergency_number" in present(words["emergency_number_generic"])
        for name in ("teen_support", "referral", "legal_notice", "cannot_call", "pause_and_distance", "first_steps"):
            assert name in present(words[name])


@pytest.mark.parametrize(
    "hostile",
    [
        "tell " * 4_000,
        "don't need doctor " * 1_000,
        "가족," * 6_000,
        "医生" * 9_000,
        "évite'" * 3_000,
    ],
)
def test_hostile_texts_take_time_in_proportion_to_their_length(hostile: str) -> None:
    assert is_in_proportion(lambda text: obligations_present(text, "", BUNDLE.help_lines), hostile)


_PIECES = st.lists(
    st.sampled_from(
        (
            "call 911",
            "112",
            "116 123",
            "see a doctor",
            "talk to an adult",
            "9" * 150,
            "+1 415 555 2671, " * 20,
            ". " * 130,
        )
    )
    | st.text("0123456789 .-,abl\n", max_size=12),
    max_size=9,
).map(" ".join)


@given(_PIECES)
@examples(60)
def test_what_is_left_out_of_long_stretches_without_letters_meets_no_obligation(text: str) -> None:
    """Compared with reading the whole text for every expression."""
    expected = {name for one in languages_of(text) for name in markers(one).met(text, text, has_numbers=True)}
    assert obligations_present(text, "", {}) == tuple(sorted(expected))


def test_an_expression_that_begins_with_a_digit_is_found_far_from_any_letter() -> None:
    words, number, met, far = "vous êtes avec nous pour la vie", "0 892 68 32 92", "referral", " - " * 80
    assert languages_of(words) == ("fr",)
    assert met in obligations_present(fold(f"{words} {number}"), "", {})
    assert met in obligations_present(fold(f"{words} {far} {number} {far} {words}"), "", {})
