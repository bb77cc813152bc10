"""`sluicegate policy explain`: why an event was answered as it was, step by step, without a word of its user."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from bench.simulate_policy import decisions
from tests.effort import examples
from tests.plugins.dead_letter_desk import Desk
from tests.plugins.kafka_broker import Kafka
from tests.plugins.policy_desk import PolicyDesk
from tests.topology.decision import policy_world
from tests.topology.steps.pipeline_world import Bench, finding, finds, labelled
from topology.contract.codec import encode
from topology.contract.events import AuditRecord, UserContext
from topology.contract.labels import OutputLabels, RequestLabels
from topology.decision.plan import plan, tighten
from topology.policy.overlays import TenantOverlay
from workers.commands.policy.explaining import PLAN_RULES, words_of

NO_WORDS = "a rule that this policy does not have"
FRAUD = "wrongdoing.nonviolent"


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> PolicyDesk:
    return PolicyDesk(tmp_path, capsys)


def revised() -> AuditRecord:
    """An event about fraud whose first draft went one level too far."""
    said = finds(finding(FRAUD, 2, 3), once=True)
    return Bench(labels=labelled(FRAUD, 2), classification=said).answer().audit


def written(desk: PolicyDesk, *records: AuditRecord) -> str:
    return desk.file("audit.jsonl", "".join(encode(record).decode() + "\n" for record in records))


def test_each_step_from_labels_to_action_is_said(desk: PolicyDesk) -> None:
    record = revised()
    status, out, err = desk.run("explain", record.event_id, "--from-audit", written(desk, record))
    assert (status, err) == (0, "")
    wanted = [
        "event e1 of tenant t1: published",
        f"1 request: found: {FRAUD}",
        f"{FRAUD}: H2, intent dual_use, context general, asks for D3",
        f"2 ceiling of {FRAUD}: D2",
        f"C1:{FRAUD}  the base table",
        "3 mode: safe_completion",
        f"M5:{FRAUD}  more detail is asked for than may be given",
        "4 draft 1 (generator): revise",
        f"{FRAUD}: H2, detail D3, ceiling D2",
        "V08a  the draft has more detail than its ceiling; harm up to H2; at least 1 above it",
        "5 draft 2 (generator): publish",
        "V99  no fault was found",
        "6 action: published, by the last verdict",
        "reproduced from this record: the same plan, verdicts and action, bit for bit",
    ]
    found = [out.find(words) for words in wanted]
    assert -1 not in found, wanted[found.index(-1)]
    assert found == sorted(found)


def test_a_conversation_is_explained_turn_by_turn(desk: PolicyDesk) -> None:
    first = revised()
    second = replace(first, event_id="e2", audit_id="another")
    other = replace(first, event_id="e3", audit_id="third", conversation_id="c2")
    status, out, _ = desk.run("explain", "c1", "--from-audit", written(desk, first, second, other))
    assert status == 0
    assert [line.split()[1] for line in out.splitlines() if line.startswith("event ")] == ["e1", "e2"]


def test_no_text_is_shown_not_even_redacted(desk: PolicyDesk) -> None:
    record = revised()
    assert record.request is not None
    secret = replace(record, request=replace(record.request, redacted="words-of-a-user"))
    for options in ((), ("--json",)):
        assert "words-of-a-user" not in desk.run("explain", "e1", "--from-audit", written(desk, secret), *options)[1]


def test_json_is_one_object_for_each_record_of_the_event(desk: PolicyDesk) -> None:
    record = revised()
    again = replace(record, audit_id="second")
    file = written(desk, record, again)
    found = [json.loads(line) for line in desk.run("explain", "e1", "--from-audit", file, "--json")[1].splitlines()]
    assert [each["audit_id"] for each in found] == [record.audit_id, "second"]
    assert found[0]["steps"][3]["rules"][0]["id"] == "V08a"
    assert found[0]["is_repeatable"] is True
    one = desk.run("explain", "second", "--from-audit", file, "--json")[1].splitlines()
    assert [json.loads(line)["audit_id"] for line in one] == ["second"]


def test_a_record_that_was_altered_is_found_out(desk: PolicyDesk) -> None:
    record = revised()
    altered = replace(record, attempts=record.attempts[1:])
    status, out, _ = desk.run("explain", "e1", "--from-audit", written(desk, altered))
    assert status == 1
    assert "this record cannot be reproduced" in out


def test_under_another_policy_nothing_is_made_again(desk: PolicyDesk) -> None:
    other = desk.policy("other.json", {"policy/version": "9.0.0"})
    status, out, _ = desk.run("explain", "e1", "--from-audit", written(desk, revised()), "--policy", other)
    assert status == 0
    assert "not reproduced: the policy at hand is safe-completion-core@9.0.0#" in out


def test_an_event_that_was_never_assessed_says_so(desk: PolicyDesk) -> None:
    record = replace(revised(), labels=None, plan=None, attempts=(), reason_codes=("assess_timeout",))
    out = desk.run("explain", "e1", "--from-audit", written(desk, record))[1]
    assert "1 request: was not assessed" in out
    assert "by a failure, not by a verdict" in out


def test_an_event_that_is_not_there_is_an_error(desk: PolicyDesk) -> None:
    status, out, err = desk.run("explain", "e2", "--from-audit", written(desk, revised()))
    assert (status, out) == (1, "")
    assert "no audit record of e2 in" in err


@examples(300)
@given(policy_world.REQUESTS, policy_world.OVERLAYS, policy_world.USERS, policy_world.GRANTS)
def test_every_rule_of_a_plan_has_words(
    labels: RequestLabels, overlay: TenantOverlay, user: UserContext, grants: frozenset[str]
) -> None:
    made = tighten(plan(policy_world.bundle(), labels, overlay=overlay, user=user, grants=grants))
    assert [rule for rule in made.rule_ids if rule.partition(":")[0] not in PLAN_RULES] == []


def test_every_row_of_the_table_has_words_of_its_own() -> None:
    bundle = policy_world.bundle()
    words = [words_of(name, bundle) for name in (*(row.id for row in bundle.rules), "V99", "V00")]
    assert NO_WORDS not in words
    assert len(set(words)) == len(words)
    assert words_of("V77", bundle) == NO_WORDS


@settings(max_examples=30, deadline=None)
@given(policy_world.REQUESTS, policy_world.OUTPUTS)
def test_every_record_of_a_pipeline_can_be_explained(labels: RequestLabels, draft: OutputLabels) -> None:
    from topology.policy.in_force import Policies
    from workers.commands.policy.explaining import explained

    record = Bench(labels=labels, classification=finds(*draft.findings)).answer().audit
    found = explained(record, Policies(policy_world.bundle()))
    assert found.is_repeatable
    assert all(rule.words != NO_WORDS for step in found.steps for rule in step.rules)


@pytest.mark.kafka
def test_an_event_is_found_on_the_audit_topic(kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(kafka, tmp_path, capsys)
    for record in decisions(30):
        kafka.send_record(desk.topics["audit"], encode(record), record.conversation_id.encode(), [])
    status, out, err = desk.run("policy", "explain", "event-17", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["audit_id"].endswith("-000000000017")
    status, _, err = desk.run("policy", "explain", "event-99")
    assert status == 1
    assert f"no audit record of event-99 in {desk.topics['audit']}" in err
