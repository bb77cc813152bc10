"""Response, audit record and review item agree, and what must never leave cannot be assembled."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.contract.contract_samples import (
    ATTEMPT,
    EVENT_FULL,
    EVENT_MINIMAL,
    GUARD,
    LABELS,
    LOGGED,
    OUTPUT,
    PLAN,
    POSITION,
    USAGE,
    verdict,
)
from topology.contract.codec import encode
from topology.contract.conversation import ConversationState
from topology.contract.events import Action, Attempt, AuditRecord, CodePart, GrantUse, LoggedText, TextPart, Usage
from topology.contract.labels import Mode, SideEffect, VerdictKind
from topology.contract.names import DraftSource
from topology.steps.audit import Answer, Processed, assemble, audit_id

CLEAN = Attempt(
    source=DraftSource.GENERATOR, draft=LOGGED, labels=OUTPUT, verdict=verdict(VerdictKind.PUBLISH), usage=USAGE
)
PUBLISHED = Processed(
    event=EVENT_MINIMAL,
    position=POSITION,
    action=Action.PUBLISHED,
    answer=Answer(text="A hash is a digest.", source=DraftSource.GENERATOR, mode=Mode.DIRECT_ANSWER),
    policy_ref="core@1#cc",
    labels=LABELS,
    plan=msgspec.structs.replace(PLAN, side_effects=()),
    request=LOGGED,
    attempts=(CLEAN,),
    reason_codes=("V99",),
)
TEMPLATE = Answer(text="I cannot help now.", source=DraftSource.TEMPLATE, mode=Mode.REFUSE_REDIRECT)
WITHHELD = msgspec.structs.replace(PUBLISHED, action=Action.WITHHELD, answer=TEMPLATE, attempts=(ATTEMPT,))


def _digest(text: str) -> str:
    return f"digest of {text}"


def _attempt(
    kind: VerdictKind, source: DraftSource = DraftSource.GENERATOR, draft: LoggedText | None = LOGGED
) -> Attempt:
    return msgspec.structs.replace(CLEAN, verdict=verdict(kind), source=source, draft=draft)


def test_a_published_answer_and_its_record_name_each_other() -> None:
    response, record, item = assemble(PUBLISHED, _digest)
    assert item is None
    assert response.parts == (TextPart(text="A hash is a digest."),)
    assert response.audit_id == record.audit_id == audit_id(POSITION, "evt-1")
    assert (response.action, response.mode) == (record.action, Mode.DIRECT_ANSWER)
    assert response.usage == record.usage == USAGE
    assert record.response_digest == "digest of A hash is a digest."
    for name in ("event_id", "conversation_id", "tenant_id", "policy_ref", "reason_codes"):
        assert getattr(response, name) == getattr(record, name)


def test_the_record_holds_what_plan_and_verdict_were_made_of() -> None:
    done = msgspec.structs.replace(
        WITHHELD,
        event=EVENT_FULL,
        overlay_ref="acme@2#dd",
        grants=(GrantUse(grant="g", key_id="k", status="used"),),
        guards=(GUARD,),
        trace_id="t",
        state_before=ConversationState(turns=1),
        state_after=ConversationState(turns=2),
        duplicate_of="first",
        revisions_max=2,
    )
    _, record, _ = assemble(done, _digest)
    for name in msgspec.structs.asdict(record).keys() & msgspec.structs.asdict(done).keys() - {"usage", "side_effects"}:
        assert getattr(record, name) == getattr(done, name), name
    assert (record.age_band, record.age_verified) == (EVENT_FULL.user.age_band, True)
    assert msgspec.json.decode(encode(record), type=AuditRecord) == record


def test_escalation_withholds_and_asks_a_person_with_the_held_draft() -> None:
    later = LoggedText(redacted="second", spans=(), digest="d")
    attempts = (_attempt(VerdictKind.REVISE), _attempt(VerdictKind.ESCALATE, draft=later))
    response, record, item = assemble(msgspec.structs.replace(WITHHELD, attempts=attempts), _digest)
    assert item is not None
    assert item.draft == later
    assert item.audit_id == record.audit_id
    assert response.parts == (TextPart(text=TEMPLATE.text),)
    assert response.usage == Usage(input_tokens=42, output_tokens=68)


@pytest.mark.parametrize("where", ["event", "plan", "verdict", "nowhere"])
def test_human_review_is_due_wherever_it_was_asked_for(where: str) -> None:
    effects = (SideEffect.HUMAN_REVIEW,)
    asking = msgspec.structs.replace(CLEAN, verdict=msgspec.structs.replace(CLEAN.verdict, side_effects=effects))
    changed: dict[str, Any] = {
        "event": {"side_effects": effects},
        "plan": {"plan": msgspec.structs.replace(PLAN, side_effects=effects)},
        "verdict": {"attempts": (asking,)},
        "nowhere": {},
    }[where]
    _, record, item = assemble(msgspec.structs.replace(PUBLISHED, **changed), _digest)
    assert (item is not None) == (where != "nowhere")
    assert record.side_effects == (effects if item else ())


def test_what_could_not_be_assessed_is_recorded_as_such() -> None:
    done = msgspec.structs.replace(WITHHELD, labels=None, plan=None, request=None, attempts=())
    response, record, item = assemble(done, _digest)
    assert response.action is Action.WITHHELD
    assert (record.labels, record.plan, record.request, record.attempts) == (None, None, None, ())
    assert item is None


def test_a_candidate_keeps_its_parts() -> None:
    parts = (TextPart(text="a"), CodePart(code="b"))
    answer = Answer(text="a\n\nb", source=DraftSource.CANDIDATE, mode=Mode.DIRECT_ANSWER, parts=parts)
    done = msgspec.structs.replace(
        PUBLISHED, answer=answer, attempts=(_attempt(VerdictKind.PUBLISH, DraftSource.CANDIDATE),)
    )
    response, record, _ = assemble(done, _digest)
    assert response.parts == parts
    assert record.response_digest == "digest of a\n\nb"


def test_half_a_surrogate_pair_does_not_stop_the_answer() -> None:
    answer = Answer(text="cut \ud83d", source=DraftSource.GENERATOR, mode=Mode.DIRECT_ANSWER)
    response, _, _ = assemble(msgspec.structs.replace(PUBLISHED, answer=answer), _digest)
    assert encode(response)
    assert response.parts == (TextPart(text="cut ?"),)


def _answer(source: DraftSource) -> Answer:
    return Answer(text="x", source=source, mode=Mode.DIRECT_ANSWER)


@pytest.mark.parametrize(
    "changed",
    [
        {"attempts": ()},
        {"labels": None},
        {"plan": None},
        {"request": None},
        {"attempts": (_attempt(VerdictKind.PUBLISH, draft=None),)},
        {"attempts": (_attempt(VerdictKind.PUBLISH, DraftSource.CANDIDATE),)},
        {"action": Action.WITHHELD},
        {"action": Action.REDACTED},
        {"answer": _answer(DraftSource.TEMPLATE)},
        {"answer": _answer(DraftSource.NONE)},
        {"answer": _answer(DraftSource.REDACTION), "attempts": (_attempt(VerdictKind.PUBLISH, DraftSource.REDACTION),)},
        {"attempts": (_attempt(VerdictKind.ESCALATE),), "answer": TEMPLATE, "action": Action.REFUSED},
        *({"attempts": (_attempt(kind),)} for kind in VerdictKind if kind is not VerdictKind.PUBLISH),
    ],
)
def test_contradictions_are_never_assembled(changed: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        assemble(msgspec.structs.replace(PUBLISHED, **changed), _digest)


SOURCES = (DraftSource.GENERATOR, DraftSource.CANDIDATE, DraftSource.REDACTION)
JUDGED = st.lists(st.tuples(st.sampled_from(VerdictKind), st.sampled_from(SOURCES)), max_size=3)


@given(st.sampled_from(Action), st.sampled_from(DraftSource), JUDGED, st.booleans())
def test_no_draft_leaves_but_the_last_one_judged_publish(
    action: Action, source: DraftSource, judged: list[tuple[VerdictKind, DraftSource]], is_assessed: bool
) -> None:
    done = msgspec.structs.replace(
        PUBLISHED,
        action=action,
        answer=_answer(source),
        attempts=tuple(_attempt(*one) for one in judged),
        labels=LABELS if is_assessed else None,
    )
    try:
        response, _, _ = assemble(done, _digest)
    except AssertionError:
        return
    if source is not DraftSource.TEMPLATE:
        assert is_assessed
        assert judged[-1] == (VerdictKind.PUBLISH, source)
        assert response.action is not Action.WITHHELD
    if response.action is Action.PUBLISHED:
        assert source in {DraftSource.GENERATOR, DraftSource.CANDIDATE}


def test_audit_ids_are_the_same_again_and_differ_otherwise() -> None:
    here = audit_id(POSITION, "evt-1")
    assert here == audit_id(msgspec.structs.replace(POSITION, timestamp_ms=0), "evt-1")
    assert UUID(here).version == 8
    others = {
        audit_id(POSITION, "evt-2"),
        audit_id(msgspec.structs.replace(POSITION, topic="t"), "evt-1"),
        audit_id(msgspec.structs.replace(POSITION, partition=4), "evt-1"),
        audit_id(msgspec.structs.replace(POSITION, offset=0), "evt-1"),
    }
    assert len(others | {here}) == 5
