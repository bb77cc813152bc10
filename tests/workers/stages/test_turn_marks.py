"""Who says the marks of the model's turns, in which order, and when a start is refused."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import structs

from serving.endpoint.tokenizer import TokenizerAnswer
from serving.engine.tiny_checkpoint import build_tiny_checkpoint
from topology.contract.errors import RetryLater, SettingsError
from topology.contract.labels import Outcome
from workers.settings import GenerationSettings, Settings
from workers.settings.types import TURN_MARKS_MAX
from workers.stages.turn_marks import CURES, NONE, FoundMarks, find_turn_marks, own_marks, with_turn_marks

SILENT = TokenizerAnswer()
RENDERED = TokenizerAnswer(conversation=("<go>", "user", "Ċ", "Is"))
PLAIN = TokenizerAnswer(known=frozenset({"</turn>"}))
CONFIGURED = TokenizerAnswer(configuration=json.dumps({"eos_token": "<stop>"}).encode(), conversation=("<go>",))
NOBODY: Mapping[str, str] = {"HF_HUB_CACHE": "/nowhere"}


def found(answer: TokenizerAnswer | RetryLater | None = None, **asked: object) -> FoundMarks:
    """What is found where the server gives this answer; None: it must not be asked."""

    def ask(_asked: GenerationSettings, _timeout_s: float) -> TokenizerAnswer:
        assert answer is not None, "the server was asked"
        if isinstance(answer, RetryLater):
            raise answer
        return answer

    settings = structs.replace(GenerationSettings(model="instruct"), **asked)
    return find_turn_marks(settings, 1.0, environ=NOBODY, ask=ask)


def test_the_named_tokenizer_comes_first_and_what_is_listed_joins_it(tmp_path: Path) -> None:
    tiny = str(build_tiny_checkpoint(tmp_path / "tiny"))
    assert found(tokenizer=tiny, model="qwen").marks == ("</turn>", "<pad>", "<turn>")
    assert found(tokenizer=tiny, turn_marks=("<mine>",)).marks == ("</turn>", "<mine>", "<pad>", "<turn>")


def test_listed_marks_are_taken_without_asking_anyone() -> None:
    assert found(turn_marks=("<mine_7>", "USER:"), model="qwen").marks == ("<mine_0>", "USER:")
    assert found(turn_marks=(NONE,)).marks == ()


def test_then_the_server_is_asked_and_its_configuration_is_exact() -> None:
    assert found(CONFIGURED, model="deepseek").marks == ("<go>", "<stop>")


def test_to_what_a_template_writes_comes_what_the_name_tells() -> None:
    assert found(RENDERED).marks == ("<go>",)
    assert found(PLAIN).marks == ("</turn>",)
    assert {"<go>", "Assistant:", "### Response:"} <= set(found(RENDERED, model="deepseek").marks)


@pytest.mark.parametrize("answer", [SILENT, RetryLater(Outcome.UNREACHABLE, "generator", "x")], ids=["silent", "away"])
def test_then_the_name_tells_the_family(answer: TokenizerAnswer | RetryLater) -> None:
    marks = found(answer, model="Mistral-Small")
    assert "[ARGS]" in marks.marks
    assert "Mistral" in marks.source


def test_a_model_that_nobody_knows_is_refused_with_every_cure() -> None:
    with pytest.raises(SettingsError) as refused:
        found(SILENT)
    for cure in ("generation.tokenizer", "/tokenize", "a name that tells its family", "generation.turn_marks"):
        assert cure in str(refused.value)
    assert "'instruct'" in str(refused.value)


def test_while_the_server_is_away_an_unknown_model_may_be_known_later() -> None:
    with pytest.raises(RetryLater) as away:
        found(RetryLater(Outcome.OVERLOADED, "generator", "HTTP 503"))
    assert away.value.outcome is Outcome.OVERLOADED
    assert CURES in str(away.value)


def test_a_tokenizer_that_cannot_be_read_is_refused_before_anyone_else_is_asked() -> None:
    with pytest.raises(SettingsError) as refused:
        found(tokenizer="acme/absent", model="qwen")
    assert refused.value.key == "generation.tokenizer"


def test_too_many_marks_are_refused_by_their_number() -> None:
    answer = {"extra_special_tokens": [f"<{chr(0x4E00 + index)}>" for index in range(TURN_MARKS_MAX + 1)]}
    with pytest.raises(SettingsError, match=f"at most {TURN_MARKS_MAX}"):
        found(TokenizerAnswer(configuration=json.dumps(answer).encode()))


def test_what_was_found_stands_in_the_settings_of_the_workers(tmp_path: Path) -> None:
    tiny = str(build_tiny_checkpoint(tmp_path / "tiny"))
    pinned = with_turn_marks(Settings(generation=GenerationSettings(model="instruct", tokenizer=tiny))).generation
    assert (pinned.tokenizer, own_marks(pinned)) == ("", ("</turn>", "<pad>", "<turn>"))
    nothing = with_turn_marks(Settings(generation=GenerationSettings(turn_marks=(NONE,)))).generation
    assert (nothing.turn_marks, own_marks(nothing)) == ((NONE,), ())
