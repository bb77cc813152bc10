"""What the demo tells: examples of every kind of decision, in words and within 80 columns, and files to go on with."""

import tomllib
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from rich.console import Console

from topology.contract.codec import encode
from topology.contract.events import (
    Action,
    Attempt,
    AuditedResponse,
    AuditRecord,
    ConversationEvent,
    LoggedText,
    Position,
    TextPart,
)
from topology.contract.labels import (
    CategoryId,
    GuardRun,
    Mode,
    Outcome,
    OutputFinding,
    OutputLabels,
    Plan,
    Verdict,
    VerdictKind,
)
from topology.contract.names import DraftSource
from topology.contract.records import Record
from topology.policy.loading import load_bundle, packaged_bundle
from workers.commands.demo.parts import OVERLAYS
from workers.commands.demo.story.afterwards import (
    AUDIT,
    POLICY,
    RESPONSES,
    SETTINGS,
    kcat_commands,
    leave,
    next_commands,
)
from workers.commands.demo.story.examples import Example, examples
from workers.commands.demo.story.outcomes import MARKS, RULES, Decision, code_words, two_lines, why_words
from workers.commands.demo.view import LiveView, print_story
from workers.settings import Settings

SEED = 7
CATEGORY = CategoryId("wrongdoing.nonviolent")


def attempt(rule: str, verdict: VerdictKind, detail: int = 0, outcome: Outcome = Outcome.OK) -> Attempt:
    finding = OutputFinding(category=CATEGORY, harm=3, detail_lo=detail, detail_hi=detail)
    run = GuardRun(guard="classification", version="1", outcome=outcome)
    return Attempt(
        source=DraftSource.GENERATOR,
        draft=LoggedText(
            redacted="It is open." if rule == "V99" else "Here is the whole procedure.", spans=(), digest=""
        ),
        labels=OutputLabels(findings=(finding,), guards=(run,)),
        verdict=Verdict(verdict=verdict, rule_ids=(rule,), policy_ref="p@1#0"),
    )


ABOVE = attempt("V06a", VerdictKind.SAFE_COMPLETE, 4)
WITHIN = attempt("V99", VerdictKind.PUBLISH)


def decided(event: ConversationEvent, action: Action, *attempts: Attempt, mode: Mode = Mode.DIRECT_ANSWER) -> Decision:
    codes = attempts[-1].verdict.rule_ids if attempts else ("deadline",)
    response = AuditedResponse(
        event_id=event.event_id,
        conversation_id=event.conversation_id,
        tenant_id=event.tenant_id,
        action=action,
        mode=mode,
        parts=(TextPart(text="An answer of some length, which a terminal of eighty columns has to cut somewhere."),),
        reason_codes=codes,
        policy_ref="p@1#0",
        audit_id=event.event_id,
    )
    audit = AuditRecord(
        audit_id=event.event_id,
        event_id=event.event_id,
        conversation_id=event.conversation_id,
        tenant_id=event.tenant_id,
        position=Position(topic="in", partition=0, offset=0, timestamp_ms=0),
        policy_ref="p@1#0",
        overlay_ref="",
        action=action,
        reason_codes=codes,
        labels=None,
        plan=Plan(mode=mode, ceilings={CATEGORY: 0}),
        request=None,
        attempts=attempts,
        response_digest="",
    )
    return Decision(event, response, audit)


WHOLE = [example for example in examples() if not example.streams]
EVENT = examples()[0].event(SEED)


def test_there_is_an_example_of_every_action_of_a_crisis_of_two_tenants_and_of_a_document() -> None:
    assert {example.action for example in examples()} == set(Action) - {Action.REJECTED}  # that answers no event
    assert set(MARKS) == set(Action)
    assert any(example.locale != "en" for example in examples())
    questions = [example.question for example in examples()]
    same = [example for example in examples() if questions.count(example.question) == 2]
    assert len({example.tenant for example in same}) == len({example.action for example in same}) == 2
    assert any("Ignore all previous instructions" in example.document for example in examples())


def test_every_rule_of_a_verdict_has_words() -> None:
    rules = [row.id for row in packaged_bundle().rules]
    assert rules
    assert [rule for rule in rules if code_words(rule) == f"{rule} ({rule})" or rule[:3] not in _stems()] == []


def _stems() -> set[str]:
    return {name[:3] for name in RULES}


def test_a_decision_is_its_question_and_its_outcome() -> None:
    question, outcome = two_lines(decided(EVENT, Action.PUBLISHED, WITHIN))
    assert question.plain == "✓ published       What can I cook tonight with leeks, eggs and rice?"
    assert outcome.plain.strip().startswith("An answer of some length")


@pytest.mark.parametrize(
    ("attempts", "words"),
    [
        ((WITHIN,), ""),
        ((ABOVE, WITHIN), "first too much detail, serious subject (V06a); then within limits (V99)"),
        ((ABOVE, ABOVE, attempt("V06b", VerdictKind.REFUSE)), "too much detail, serious subject (V06b), 3 drafts"),
        ((attempt("V06b", VerdictKind.REFUSE),), "too much detail, serious subject (V06b)"),
        ((), "no time: deadline was late"),
        (
            (attempt("V01", VerdictKind.ESCALATE, outcome=Outcome.TIMEOUT),),
            "no time: classification was late",
        ),
    ],
)
def test_a_reason_is_said_in_words(attempts: tuple[Attempt, ...], words: str) -> None:
    action = Action.PUBLISHED if attempts and attempts[-1] is WITHIN else Action.WITHHELD
    assert why_words(decided(EVENT, action, *attempts).audit) == words


def test_an_answer_to_somebody_at_risk_is_named_after_that() -> None:
    assert decided(EVENT, Action.SAFE_COMPLETED, WITHIN, mode=Mode.CRISIS_SUPPORT).label == ("☎", "crisis support")
    assert decided(EVENT, Action.WITHHELD, WITHIN, mode=Mode.CRISIS_SUPPORT).label[1] == "withheld"


def story(decisions: dict[str, Decision], width: int = 80) -> str:
    file = StringIO()
    print_story(Console(file=file, width=width), decisions, WHOLE, SEED)
    return file.getvalue()


def by_id(*decisions: Decision) -> dict[str, Decision]:
    return {decision.event.event_id: decision for decision in decisions}


def one(name: str) -> Example:
    return next(example for example in examples() if example.name == name)


def test_a_draft_that_was_not_published_is_shown_with_its_detail_within_80_columns() -> None:
    event = one("safe-completed").event(SEED)
    out = story(by_id(decided(event, Action.SAFE_COMPLETED, ABOVE, WITHIN)), 160)
    assert "draft 1: too much detail, serious subject (V06a): 4, allowed 0" in out
    assert "draft 2: within limits (V99)" in out
    assert "sent: An answer of some length" in out
    narrow = story(by_id(decided(event, Action.SAFE_COMPLETED, ABOVE, WITHIN)))
    assert max(map(len, narrow.splitlines())) <= 80
    assert "key card" in narrow


def test_drafts_that_the_model_repeated_are_one_and_a_long_answer_is_not_cut_at_once() -> None:
    last = attempt("V06b", VerdictKind.REFUSE, 4)
    out = story(by_id(decided(one("refused").event(SEED), Action.REFUSED, ABOVE, ABOVE, last)))
    assert "drafts 1 to 3: too much detail, serious subject (V06b): 4" in out
    assert out.count("“Here is the whole procedure.”") == 1
    assert out.split("sent: ")[1].count("\n" + " " * 18) == 1


def test_an_example_that_ended_otherwise_or_not_at_all_is_said() -> None:
    event = one("refused").event(SEED)
    out = story(by_id(decided(event, Action.PUBLISHED, WITHIN)), 160)
    assert "refused was expected here" in out
    assert f"not answered in time ({one('redacted').event(SEED).event_id})" in out


def test_the_live_view_counts_an_answer_once_its_audit_record_is_there() -> None:
    view = LiveView(1, [EVENT])
    decision = decided(EVENT, Action.PUBLISHED, WITHIN)
    assert view.add_response(record(encode(decision.response))) == ()
    assert view.answered_count == 0
    assert len(view.add_audit(record(encode(decision.audit)))) == 2
    assert view.add_audit(record(encode(decision.audit))) == ()
    assert view.answered_count == 1


def record(value: bytes) -> Record:
    return Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=b"c", value=value, headers=())


def test_a_dead_letter_says_what_was_wrong_with_its_record() -> None:
    detail = "$.messages[0].role: must be one of user, tool"
    headers = (("x-reason", b"invalid"), ("x-stage", b"decode"), ("x-detail", detail.encode()))
    letter = Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=b"c", value=b"", headers=headers)
    (line,) = LiveView(1, ()).add_dead_letter(letter)
    assert line.plain == f"✉ dead letter     a broken record: invalid: {detail}"


def test_a_run_leaves_its_records_and_a_stricter_policy_that_loads(tmp_path: Path) -> None:
    settings = structs.replace(Settings(), policy=structs.replace(Settings().policy, overlays=str(OVERLAYS)))
    decision = decided(EVENT, Action.PUBLISHED, WITHIN)
    leave(tmp_path, settings, [decision.audit], [decision.response])
    assert msgspec.json.decode((tmp_path / AUDIT).read_bytes(), type=AuditRecord) == decision.audit
    assert msgspec.json.decode((tmp_path / RESPONSES).read_bytes(), type=AuditedResponse) == decision.response
    stricter, packaged = load_bundle((tmp_path / POLICY).read_bytes()), packaged_bundle()
    assert stricter.version != packaged.version
    for family, table in packaged.base_ceiling.items():
        lower = stricter.base_ceiling[family]
        pairs = [(a, b) for before, after in zip(table, lower, strict=True) for a, b in zip(before, after, strict=True)]
        assert all(after <= before for before, after in pairs)
    assert stricter.base_ceiling != packaged.base_ceiling
    written = tomllib.loads((tmp_path / SETTINGS).read_text())
    assert written["topics"]["events"] == settings.topics.events
    assert sorted(path.name for path in Path(written["policy"]["overlays"]).iterdir()) == sorted(
        path.name for path in OVERLAYS.iterdir()
    )


def test_commands_name_the_files_and_topics_of_the_run(tmp_path: Path) -> None:
    settings = Settings()
    explain, simulate = next_commands(tmp_path, "e1")
    assert explain.startswith("sluicegate policy explain e1 --from-audit ")
    assert str(tmp_path / POLICY) in simulate
    send, read = kcat_commands(structs.replace(settings, topics=structs.replace(settings.topics, events="demo-1.in")))
    assert "-t demo-1.in -k c1" in send
    assert f"-t {settings.topics.audited} " in read
