"""What must not run again ends as a dead letter and, where it can be answered, as `withheld` with its audit record."""

from collections.abc import Sequence

import msgspec

from serving.fakes import FakeCheck, FakeGenerator, FakeLabeler
from tests.topology.steps.pipeline_world import BUNDLE, Bench, Ended, candidate, event, logged, record_of
from topology.contract.errors import DeadLetterReason
from topology.contract.events import Action, ConversationEvent
from topology.contract.headers import last_header
from topology.contract.labels import RequestLabels
from topology.contract.names import Header, Topic
from topology.contract.records import OutRecord
from topology.telemetry.metrics import Metric


def explode(_: ConversationEvent) -> RequestLabels:
    raise AssertionError("a quarantined event was looked at")


def guarded() -> Bench:
    checks = (FakeCheck("classification"), FakeCheck("bias"), FakeCheck("logging", logged))
    return Bench(labeler=FakeLabeler(explode), checks=checks, generator=FakeGenerator(lambda _: "An answer."))


def stated(letters: Sequence[OutRecord]) -> list[list[str | None]]:
    names = (Header.REASON, Header.STAGE, Header.DETAIL)
    return [[last_header(letter.headers, name) for name in names] for letter in letters]


def test_an_event_in_quarantine_is_withheld_audited_and_a_dead_letter_and_nothing_looks_at_it() -> None:
    bench = guarded()
    sent = record_of(event(candidate=candidate("An answer made upstream.")))
    ended = Ended(bench.pipeline.quarantine(sent, 3, True))
    assert (ended.response.action, ended.response.reason_codes) == (Action.WITHHELD, ("poison",))
    assert ended.text
    assert "upstream" not in ended.text
    assert (ended.audit.labels, ended.audit.plan, ended.audit.request, ended.audit.attempts) == (None, None, None, ())
    assert (ended.audit.position.partition, ended.audit.position.offset) == (3, 17)
    assert ended.audit.policy_ref == BUNDLE.ref
    assert not ended.review
    assert stated(ended.letters) == [["poison", "processing", "ran in 3 processes when they crashed"]]
    assert ended.letters[0].value == sent.value
    assert not bench.generator.calls
    assert bench.metrics.value(Metric.DEAD_LETTERS, reason="poison") == 1
    assert bench.metrics.value(Metric.ACTIONS, action="withheld", reason="processing_failed") == 1


def test_what_is_no_event_ends_as_the_letter_alone() -> None:
    bench = guarded()
    (letter,) = bench.pipeline.quarantine(msgspec.structs.replace(record_of(event()), value=b"{"), 4, True).records
    assert letter.topic == Topic.DEAD_LETTERS
    assert stated([letter]) == [["poison", "processing", "ran in 4 processes when they crashed"]]


def test_what_crashed_the_decoder_is_not_decoded_again() -> None:
    bench = guarded()
    (letter,) = bench.pipeline.quarantine(record_of(event()), 3, False).records
    assert stated([letter]) == [["poison", "decode", "ran in 3 processes when they crashed"]]
    assert bench.metrics.value(Metric.DEAD_LETTERS, reason=DeadLetterReason.POISON.value) == 1


def test_where_the_answer_itself_cannot_be_made_the_letter_leaves() -> None:
    """The same bug that ended the worker three times must not end it a fourth time."""

    def broken(_: str) -> str:
        raise ZeroDivisionError

    (letter,) = Bench(digest=broken).pipeline.quarantine(record_of(event()), 3, True).records
    assert stated([letter]) == [["poison", "processing", "ran in 3 processes when they crashed"]]


def test_whether_a_record_decodes_is_asked_of_nothing_but_the_decoder() -> None:
    bench = guarded()
    assert bench.pipeline.decodes(record_of(event()))
    assert not bench.pipeline.decodes(msgspec.structs.replace(record_of(event()), value=b"{"))
    assert bench.metrics.value(Metric.DEAD_LETTERS, reason="malformed") == 0
