"""Every reason code that a response can have is in the table, in words, and the page is what the table says."""

import asyncio

import msgspec
import pytest

from tests.checkout import ROOT
from tests.topology.decision.policy_world import bundle
from tests.topology.steps.pipeline_world import Bench, Ended, event, record_of
from topology.contract.errors import DeadLetterReason
from topology.contract.labels import Outcome
from topology.contract.names import LlmRole, StageName
from topology.policy.verdict_table import UNMATCHED
from topology.reference.reason_codes import OTHER_REASONS, PARTS, VERDICT_REASONS, Again, page, reason_of

PAGE = ROOT / "docs" / "reason-codes.md"


def test_the_page_is_current() -> None:
    """Where it is not: `python -m topology.reference.reason_codes > docs/reason-codes.md`."""
    assert PAGE.read_text("utf-8") == page()


def test_every_rule_of_a_verdict_is_in_the_table_and_none_that_is_not() -> None:
    assert {row.id for row in bundle().rules} | {UNMATCHED.id, "V99"} == set(VERDICT_REASONS)


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.OK])
@pytest.mark.parametrize("part", [StageName.ASSESS, LlmRole.GENERATOR, "tri-guard_v2"])
def test_a_part_that_could_not_do_its_work_has_words_that_name_it(part: str, outcome: Outcome) -> None:
    reason = reason_of(f"{part}_{outcome.value}")
    assert reason is not None
    assert PARTS.get(part, part) in reason.words
    assert reason.again is not Again.NO


@pytest.mark.parametrize("code", ["", "V77", "_timeout", "ok", "generator_ok"])
def test_an_unknown_code_has_no_words(code: str) -> None:
    assert reason_of(code) is None


def codes_of(result: object) -> tuple[str, ...]:
    return Ended(result).response.reason_codes  # pyright: ignore[reportArgumentType]


def test_the_codes_of_the_pipeline_are_in_the_table() -> None:
    bench, record = Bench(), record_of(event())
    invalid = msgspec.structs.replace(record, value=b'{"event_id":"e1","conversation_id":"c1","tenant_id":"t1"}')
    late = record_of(event(deadline_ms=1))
    found = {
        *codes_of(asyncio.run(bench.pipeline.process(record))),
        *codes_of(asyncio.run(bench.pipeline.process(invalid))),
        *codes_of(asyncio.run(bench.pipeline.process(late))),
        *codes_of(bench.pipeline.quarantine(record, 3, decodes=True)),
    }
    assert found == {"V99", "invalid", "deadline", "poison"}
    assert all(reason_of(code) is not None for code in found)


def test_only_failures_may_be_asked_again() -> None:
    again = {code for code, reason in (VERDICT_REASONS | OTHER_REASONS).items() if reason.again is not Again.NO}
    dead = {DeadLetterReason.PROCESSING_FAILED, DeadLetterReason.POISON, DeadLetterReason.INVALID}
    assert again == {"V01", "deadline", "overloaded", "rate_limited", "duplicate_event", "client_gone"} | dead
