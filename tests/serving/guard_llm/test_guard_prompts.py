"""The guard LLM's prompts: on record word for word, of a length that a guard can hold, and covering every category."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from serving.generation.rules import rules_hash
from serving.guard_llm.answers import GroupDraftAnswer, GroupRequestAnswer, MannerAnswer, strangers
from serving.guard_llm.prompts import (
    Question,
    draft_question,
    group_draft_questions,
    group_request_questions,
    manner_questions,
    request_question,
)
from topology.contract.labels import NONE
from topology.policy.loading import packaged_bundle

GOLDEN = Path(__file__).parent / "golden"
BUNDLE = packaged_bundle()
REQUESTS = group_request_questions(BUNDLE)
DRAFTS = group_draft_questions(BUNDLE)
MANNER = manner_questions(BUNDLE)
CHARACTERS_PER_TOKEN = 4
"""A usual figure for English prose; the labels in the examples take a little more."""

ALL: dict[str, Question[Any]] = {
    "request": request_question(BUNDLE.categories),
    "draft": draft_question(BUNDLE.categories),
    **{f"request.{name}": question for name, question in REQUESTS.items()},
    **{f"draft.{name}": question for name, question in (DRAFTS | MANNER).items()},
}


def on_record() -> dict[str, str]:
    """The golden files by name, as they would be written now."""
    files = {
        f"guard_{side}.txt": "".join(
            f"=== {name}\n{question.prompt}\n" for name, question in ALL.items() if name.partition(".")[0] == side
        )
        for side in ("request", "draft")
    }
    hashes = {"generator": rules_hash()} | {name: question.prompt_hash for name, question in ALL.items()}
    return files | {"prompt_hashes.json": json.dumps(hashes, indent=1) + "\n"}


@pytest.mark.parametrize("name", sorted(on_record()))
def test_prompts_and_their_hashes_are_the_ones_on_record(name: str) -> None:
    """A changed prompt is changed behaviour: `python -m tests.serving.guard_llm.test_guard_prompts` records it."""
    assert on_record()[name] == (GOLDEN / name).read_text("utf-8")


def test_every_category_but_none_is_in_a_group() -> None:
    asked = {name for group in BUNDLE.guard_groups.values() for name in group.categories}
    assert asked == BUNDLE.categories.keys() - {NONE}


@pytest.mark.parametrize("name", sorted(name for name in ALL if "." in name))
def test_a_groups_prompt_is_of_a_length_that_a_guard_reads_with_care(name: str) -> None:
    assert 300 <= len(ALL[name].prompt) / CHARACTERS_PER_TOKEN <= 650


@pytest.mark.parametrize("group", sorted(BUNDLE.guard_groups))
def test_a_group_shows_cases_on_both_sides_of_the_line(group: str) -> None:
    rules = {example.rule for example in BUNDLE.guard_groups[group].examples}
    assert 4 <= len(BUNDLE.guard_groups[group].examples) <= 6
    assert len({".s" in rule for rule in rules}) == 2


@pytest.mark.parametrize("group", sorted(REQUESTS))
def test_an_answer_may_use_the_groups_own_names_only(group: str) -> None:
    question = DRAFTS[group]
    category, rule = question.names.categories[0], question.names.rules[0]
    finding = {"category": category, "harm": 1, "detail": 2, "rule": rule, "confidence": "low"}
    answer = {"rationale": "It is so.", "findings": [finding]}
    jsonschema.validate(answer, question.schema)
    assert strangers(msgspec.convert(answer, GroupDraftAnswer), question.names) == 0
    for name, value in (("category", "none"), ("rule", "ZZ.a")):
        strange = {"rationale": "", "findings": [finding | {name: value}]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(strange, question.schema)
        assert strangers(msgspec.convert(strange, GroupDraftAnswer), question.names) == 1


@pytest.mark.parametrize("group", sorted(DRAFTS))
def test_the_examples_of_a_prompt_would_be_valid_answers(group: str) -> None:
    for questions, kind, more in (
        (REQUESTS, GroupRequestAnswer, {"confidence": "high"}),
        (DRAFTS, GroupDraftAnswer, {"confidence": "high"}),
    ):
        lines = [line for line in questions[group].prompt.splitlines() if line.startswith('"')]
        assert len(lines) == len(BUNDLE.guard_groups[group].examples)
        for line in lines:
            findings = [found | more for found in json.loads(line.rpartition(" -> ")[2])]
            answer = {"rationale": "", "findings": findings}
            jsonschema.validate(answer, questions[group].schema)
            assert not strangers(msgspec.convert(answer, kind), questions[group].names)


def test_faults_of_manner_are_those_that_the_verdict_table_knows() -> None:
    (question,) = MANNER.values()
    assert set(question.names.faults) <= {"unfair", *BUNDLE.soft_rules}
    strange = MannerAnswer(rationale="", faults=("ugly",))
    assert strangers(strange, question.names) == 1


def test_no_prompt_names_a_limit_that_a_guard_could_round_to() -> None:
    """The code compares: a guard that knew the ceiling would find what fits under it."""
    assert not any("ceiling" in question.prompt for question in ALL.values())


if __name__ == "__main__":
    for name, text in on_record().items():
        (GOLDEN / name).write_text(text, "utf-8")
