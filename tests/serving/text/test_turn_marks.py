"""Marks of turns are broken up: for a tokenizer none of them is a token any more, and nothing but spaces was added."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from serving.text.mark_families import EVERY_MARK, FAMILIES, Family, families_of
from serving.text.turn_marks import EVERY, MARK_CHARACTERS_MAX, TurnMarks, canonical

FAMILY_MARKS = [(family, mark) for family in FAMILIES for mark in (*family.marks, *family.words)]


def tokenizer_of(marks: Iterable[str]) -> Tokenizer:
    """A byte-level tokenizer without any merge, to which the marks were added."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in sorted(marks)])
    return tokenizer


TOKENIZERS = {family.name: tokenizer_of({*EVERY_MARK, *family.words}) for family in FAMILIES}
MARKS_OF = {family.name: TurnMarks(family.words) for family in FAMILIES}


def added_in(tokenizer: Tokenizer, text: str) -> list[str]:
    """The added tokens that a tokenizer sees in a text."""
    added = tokenizer.get_added_tokens_decoder()
    return [added[number].content for number in tokenizer.encode(text, add_special_tokens=False).ids if number in added]


@pytest.mark.parametrize(("family", "mark"), FAMILY_MARKS, ids=lambda each: getattr(each, "name", each))
def test_no_mark_of_a_family_stays_one_token(family: Family, mark: str) -> None:
    tokenizer, marks = TOKENIZERS[family.name], MARKS_OF[family.name]
    for text in (mark, f"Hi {mark} now", f"\n{mark}{mark}\n", f"<{mark}", f"[{mark}]"):
        assert mark in added_in(tokenizer, text)
        broken = marks.broken_up(text)
        assert added_in(tokenizer, broken) == []
        assert broken.replace(" ", "") == text.replace(" ", "")


PIECES = st.one_of(
    st.sampled_from(sorted(EVERY_MARK)),
    st.sampled_from(sorted({mark[:cut] for mark in EVERY_MARK for cut in range(1, len(mark))})),
    st.text(max_size=3),
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_no_text_keeps_a_mark_and_nothing_but_spaces_is_added(text: str) -> None:
    broken = EVERY.broken_up(text)
    assert added_in(TOKENIZERS["Mistral"], broken) == []
    assert broken.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "mark", ["<s>", "<think>", "</think>", "[TOOL_RESULTS]", "<\uff5cUser\uff5c>", "<|new|>", "<seed:bos>"]
)
def test_marks_that_no_ordinary_text_has_are_broken_for_every_model(mark: str) -> None:
    assert mark not in TurnMarks(["<x>"]).broken_up(f"Hi {mark} now")


@pytest.mark.parametrize("text", ["USER: hi", "cp <filename> <target>", "# Answer", "<image>", "[PREFIX]", "a <b> c"])
def test_marks_that_ordinary_text_has_too_are_broken_for_their_model_alone(text: str) -> None:
    assert EVERY.broken_up(text) == text


@pytest.mark.parametrize(
    ("mark", "text", "broken"),
    [
        ("<reserved_102>", "<reserved_7>", "< reserved_7>"),
        ("<|im_start|>", "＜｜im_start｜＞", "＜ ｜im_start｜＞"),  # noqa: RUF001
        ("USER:", "SUPERUSER: x USER: y", "SUPERUSER: x USER : y"),
        ("### Instruction:", "### Instruction: x", "### Instruction : x"),
        ("ace_Arab", "ace_Arab", "a ce_Arab"),
        ("  <x y>\n", "<x y>", "< x y>"),
        ("< x>", "<x>< x>", "<x><  x>"),
        ("<x>", "<<x>x>", "<< x>x>"),
    ],
    ids=["number", "full width", "word", "heading", "letters", "space around", "space inside", "nested"],
)
def test_a_mark_is_found_in_each_of_its_forms(mark: str, text: str, broken: str) -> None:
    assert TurnMarks([mark]).broken_up(text) == broken


def test_a_space_that_makes_another_mark_is_followed_by_a_second_one() -> None:
    assert TurnMarks(["<x>", "< x>"]).broken_up("<x>") == "<  x>"


def test_of_a_long_mark_the_beginning_is_enough() -> None:
    mark = f"<{'x' * MARK_CHARACTERS_MAX}>"
    assert len(canonical(mark)) == MARK_CHARACTERS_MAX
    assert mark not in TurnMarks([mark]).broken_up(f"Hi {mark}")


@pytest.mark.parametrize("blank", ["", " ", "\n\n", "x", " x "])
def test_what_has_no_inside_is_no_mark(blank: str) -> None:
    assert canonical(blank) == ""


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("Qwen/Qwen3-8B", ["ChatML"]),
        ("meta-llama/Llama-3.3-70B-Instruct", ["Llama"]),
        ("codellama-13b", ["Llama"]),
        ("google/gemma-3-27b-it", ["Gemma"]),
        ("medgemma", ["Gemma"]),
        ("microsoft/Phi-4", ["Phi"]),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", ["Mistral"]),
        ("Ministral-8B", ["Mistral"]),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", ["ChatML", "DeepSeek"]),
        ("openai/gpt-oss-120b", ["Harmony"]),
        ("o3-mini", ["Harmony"]),
        ("CohereLabs/c4ai-command-r-plus", ["Command R"]),
        ("ibm-granite/granite-4.0-h-small", ["Granite"]),
        ("zai-org/GLM-4.6", ["GLM"]),
        ("moonshotai/Kimi-K2-Instruct", ["Kimi"]),
        ("HuggingFaceTB/SmolLM3-3B", ["SmolLM"]),
        ("ByteDance-Seed/Seed-OSS-36B", ["Seed"]),
        ("NousResearch/Hermes-3-Llama-3.1-8B", ["ChatML", "Llama"]),
        ("sluicegate-tiny", ["the tiny checkpoint"]),
        ("dolphin-2.9", ["ChatML"]),
        ("instruct", []),
        ("gen-model", []),
        ("olmo1", ["bars in brackets"]),
        ("astral", []),
    ],
)
def test_a_name_tells_the_families_of_its_model(model: str, names: list[str]) -> None:
    assert [family.name for family in families_of(model)] == names
