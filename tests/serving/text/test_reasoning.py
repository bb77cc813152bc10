"""A model's reasoning inside its answer."""

import pytest

from serving.text.reasoning import ReasoningCutter, without_reasoning


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The moon pulls.", "The moon pulls."),
        ("  The moon pulls.\n", "  The moon pulls.\n"),
        ("<think>hidden</think>\n\nThe moon.", "The moon."),
        ("hidden</think>\n\nThe moon.", "The moon."),
        ("\n<think>\n\n</think>\n\nThe moon.", "The moon."),
        ("<think>hidden", ""),
        ("<think>hidden</think>", ""),
        ("hidden</think>", ""),
        ("The moon. <think>hidden</think>It pulls.", "The moon. It pulls."),
        ("The moon. <think>hidden", "The moon. "),
        ("<think>a</think>The <think>b</think>moon.", "The moon."),
        ("<think>hidden <think> hidden</think> hidden</think>The moon.", "The moon."),
        ("<think>hidden, about </think> hidden</think>The moon.", "The moon."),
        ("<think>hidden, about <think></think>The moon.", "The moon."),
        ("hidden</think>So: <think>hidden</think>the moon.", "So: the moon."),
        ("<THINK >hidden</ think>The moon.", "The moon."),
        ("<thinking>hidden</thinking>The moon.", "The moon."),
        ("<reasoning>hidden</reasoning>The moon.", "The moon."),
        ("<thought>hidden</thought>The moon.", "The moon."),
        ("<seed:think>hidden</seed:think>The moon.", "The moon."),
        ("[THINK]hidden[/THINK]The moon.", "The moon."),
        ("◁think▷hidden◁/think▷The moon.", "The moon."),
        ("<|START_THINKING|>hidden<|END_THINKING|>The moon.", "The moon."),
        ("<|begin_of_thought|>hidden<|end_of_thought|>The moon.", "The moon."),
        (
            "<|channel|>analysis<|message|>hidden<|end|><|start|>assistant<|channel|>final<|message|>The moon.",
            "The moon.",
        ),
        ("<|channel|>commentary to=f <|constrain|>json<|message|>hidden", ""),
        ("hidden<|channel|>final<|message|>The moon.", "The moon."),
        ("analysisThe user hides.assistantfinalThe moon.", "The moon."),
        ("analysisThe user hides.", ""),
        ("analysis of the moon: assistantfinal is no word", "analysis of the moon: assistantfinal is no word"),
        ("I think < 3 and [think] are no marks", "I think < 3 and [think] are no marks"),
    ],
)
def test_only_what_is_no_reasoning_is_the_answer(text: str, answer: str) -> None:
    assert without_reasoning(text) == answer


def cut(pieces: list[str]) -> str:
    cutter = ReasoningCutter()
    return "".join([cutter.feed(piece) for piece in pieces]) + cutter.end()


@pytest.mark.parametrize(
    "text",
    [
        "The moon pulls.",
        "  The moon pulls.\n",
        "<think>hidden</think>\n\nThe moon.",
        "<think>hidden",
        "The moon. <think>hidden</think>It pulls.",
        "The moon. <think>hidden",
        "<think>a</think>The <think>b</think>moon.",
        "<think>hidden <think> hidden</think>The moon.",
        "[THINK]hidden[/THINK]The moon.",
        "◁think▷hidden◁/think▷The moon.",
        "<|START_THINKING|>hidden<|END_THINKING|>The moon.",
        "I think < 3 and [think] are no marks, nor is 2 <",
    ],
)
def test_an_answer_that_arrives_in_pieces_has_the_same_text(text: str) -> None:
    for length in (1, 2, 5, len(text)):
        pieces = [text[at : at + length] for at in range(0, len(text), length)]
        assert cut(pieces) == without_reasoning(text)


def test_reasoning_that_turns_out_to_be_some_after_it_was_passed_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a mark"):
        cut(["Hidden, ", "more of it", "</think>", "The moon."])
    assert cut(["hidden</think>The moon."]) == "The moon."
