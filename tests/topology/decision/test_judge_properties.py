"""What must hold of every verdict, and of merging and redacting."""

from itertools import combinations_with_replacement, product
from random import Random

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.effort import examples
from tests.topology.decision.policy_world import (
    ADULT,
    GRANTS,
    GUARDS,
    LEVELS,
    OPEN,
    OUTCOMES,
    OUTPUT_FINDINGS,
    OUTPUTS,
    OVERLAYS,
    REQUESTS,
    SPANS,
    USERS,
    bundle,
    labels,
)
from topology.contract.drafts import CheckReport
from topology.contract.events import UserContext
from topology.contract.labels import (
    CategoryId,
    GuardRun,
    Intent,
    Outcome,
    OutputFinding,
    OutputLabels,
    Plan,
    RequestFinding,
    RequestLabels,
    Severity,
    Span,
    Verdict,
    VerdictKind,
)
from topology.decision.judge import REDACTION_MARK, apply_redactions, judge, merge_reports
from topology.decision.plan import plan
from topology.policy.overlays import TenantOverlay
from topology.policy.verdict_table import STRICTNESS

REVISIONS_MAX = 2
ATTEMPTS = st.integers(1, 4)


class World(msgspec.Struct, frozen=True):
    """A request with everything a verdict depends on besides the draft."""

    labels: RequestLabels
    overlay: TenantOverlay
    user: UserContext
    grants: frozenset[str]

    def plan(self) -> Plan:
        """Its plan."""
        return plan(bundle(), self.labels, overlay=self.overlay, user=self.user, grants=self.grants)

    def verdict(self, out: OutputLabels, attempts: int = 1, made: Plan | None = None) -> Verdict:
        """The verdict on a draft."""
        return judge(
            bundle(),
            made or self.plan(),
            self.labels,
            out,
            overlay=self.overlay,
            user=self.user,
            grants=self.grants,
            attempts=attempts,
            revisions_max=REVISIONS_MAX,
        )


WORLDS = st.builds(World, REQUESTS, OVERLAYS, USERS, GRANTS)
REPORTS = st.builds(
    CheckReport,
    check=st.sampled_from(["classification", "bias"]),
    version=st.just("1"),
    findings=st.lists(OUTPUT_FINDINGS, max_size=3).map(tuple),
    bare_refusal=st.sampled_from([None, False, True]),
    unfair=st.sampled_from([None, False, True]),
    obligations_present=st.sampled_from([(), ("crisis_line",), ("referral", "crisis_line")]),
    privileged_leak=st.booleans(),
    leak_separable=st.booleans(),
    leak_spans=st.lists(SPANS, max_size=2).map(tuple),
)


KINDS = {
    (category.content_class, category.family, category.harm): name for name, category in bundle().categories.items()
}
"""One category for each way that the verdict table can tell categories apart."""


@pytest.mark.parametrize("category", sorted(KINDS.values()))
def test_exactly_the_drafts_at_or_below_their_ceiling_are_published(category: CategoryId) -> None:
    for harm, intent in product(range(5), Intent):
        asked = RequestFinding(category=category, harm=harm, intent=intent, asked_detail=2)
        world = World(labels(asked), OPEN, ADULT, frozenset())
        made = world.plan()
        for (low, high), separable, attempts in product(combinations_with_replacement(range(5), 2), (0, 1), (1, 3)):
            spans = (Span(start=0, end=3),) * separable
            finding = OutputFinding(
                category=category, harm=harm, detail_lo=low, detail_hi=high, separable=bool(separable), spans=spans
            )
            out = OutputLabels(findings=(finding,), guards=GUARDS, obligations_present=made.must_include)
            is_published = world.verdict(out, attempts, made).verdict is VerdictKind.PUBLISH
            assert is_published == (high <= made.ceilings[category])


@examples(500)
@given(WORLDS, OUTPUTS, ATTEMPTS, st.data())
def test_no_draft_above_its_ceiling_is_published(
    world: World, out: OutputLabels, attempts: int, data: st.DataObject
) -> None:
    made = world.plan()
    over = {name: level for name, level in made.ceilings.items() if level < 4}
    assume(over)
    name = data.draw(st.sampled_from(sorted(over)))
    high = data.draw(st.integers(over[name] + 1, 4))
    finding = OutputFinding(category=name, harm=data.draw(LEVELS), detail_lo=0, detail_hi=high)
    verdict = world.verdict(msgspec.structs.replace(out, findings=(*out.findings, finding)), attempts, made)
    assert verdict.verdict is not VerdictKind.PUBLISH
    assert verdict.severity_grade is not Severity.NONE


@examples(500)
@given(WORLDS, OUTPUTS, st.integers(REVISIONS_MAX + 1, 5))
def test_nothing_is_revised_once_the_budget_is_spent(world: World, out: OutputLabels, attempts: int) -> None:
    assert world.verdict(out, attempts).verdict is not VerdictKind.REVISE


@examples(500)
@given(WORLDS, OUTPUTS, ATTEMPTS, OUTCOMES)
def test_a_failed_guard_always_withholds(world: World, out: OutputLabels, attempts: int, outcome: Outcome) -> None:
    assume(outcome is not Outcome.OK)
    runs = (*GUARDS, GuardRun(guard="bias", version="1", outcome=outcome))
    verdict = world.verdict(msgspec.structs.replace(out, guards=runs), attempts)
    assert verdict.verdict in {VerdictKind.ESCALATE, VerdictKind.REFUSE}
    assert "V01" in verdict.rule_ids


@examples(400)
@given(WORLDS, OUTPUTS, ATTEMPTS, st.randoms(use_true_random=False))
def test_the_order_of_findings_does_not_matter(world: World, out: OutputLabels, attempts: int, chance: Random) -> None:
    shuffled = list(out.findings)
    chance.shuffle(shuffled)
    assert world.verdict(msgspec.structs.replace(out, findings=tuple(shuffled)), attempts) == world.verdict(
        out, attempts
    )


@examples(400)
@given(WORLDS, OUTPUTS, ATTEMPTS)
def test_the_strictest_fault_alone_decides(world: World, out: OutputLabels, attempts: int) -> None:
    made = world.plan()
    whole = world.verdict(out, attempts, made)
    calm = OutputLabels(guards=GUARDS, obligations_present=tuple(bundle().obligations))
    alone = [
        world.verdict(msgspec.structs.replace(calm, findings=(finding,)), attempts, made) for finding in out.findings
    ]
    alone.append(world.verdict(msgspec.structs.replace(out, findings=()), attempts, made))
    assert STRICTNESS[whole.verdict] == max(STRICTNESS[verdict.verdict] for verdict in alone)


@examples(500)
@given(WORLDS, OUTPUT_FINDINGS, ATTEMPTS, st.data())
def test_more_detail_or_more_harm_never_releases_a_draft(
    world: World, finding: OutputFinding, attempts: int, data: st.DataObject
) -> None:
    worse = msgspec.structs.replace(
        finding,
        harm=data.draw(st.integers(finding.harm, 4)),
        detail_hi=data.draw(st.integers(finding.detail_hi, 4)),
    )
    before, after = (
        world.verdict(
            OutputLabels(findings=(each,), guards=GUARDS, obligations_present=tuple(bundle().obligations)), attempts
        )
        for each in (finding, worse)
    )
    if before.verdict is not VerdictKind.PUBLISH:
        assert after.verdict is not VerdictKind.PUBLISH


@examples(300)
@given(WORLDS, ATTEMPTS)
def test_a_clean_draft_is_published_under_every_planned_mode(world: World, attempts: int) -> None:
    made = world.plan()
    clean = OutputLabels(guards=GUARDS, obligations_present=made.must_include)
    assert world.verdict(clean, attempts, made).rule_ids == ("V99",)


@examples(300)
@given(WORLDS, OUTPUTS, ATTEMPTS)
def test_only_a_redaction_names_spans_and_it_always_does(world: World, out: OutputLabels, attempts: int) -> None:
    verdict = world.verdict(out, attempts)
    assert bool(verdict.redactions) == (verdict.verdict is VerdictKind.REDACT)


@examples(300)
@given(st.lists(REPORTS, max_size=4), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_order_and_keeps_the_extremes(reports: list[CheckReport], chance: Random) -> None:
    shuffled = list(reports)
    chance.shuffle(shuffled)
    merged = merge_reports(reports, GUARDS)
    assert merge_reports(shuffled, GUARDS) == merged
    for report in reports:
        for finding in report.findings:
            whole = next(each for each in merged.findings if each.category == finding.category)
            assert whole.detail_lo <= finding.detail_lo <= finding.detail_hi <= whole.detail_hi
            assert whole.harm >= finding.harm
    assert merged.privileged_leak == any(report.privileged_leak for report in reports)


@examples(300)
@given(st.lists(OUTCOMES, max_size=4))
def test_every_run_is_kept_when_reports_are_merged(outcomes: list[Outcome]) -> None:
    runs = [GuardRun(guard=f"g{index}", version="1", outcome=outcome) for index, outcome in enumerate(outcomes)]
    assert sorted(run.guard for run in merge_reports((), runs).guards) == sorted(run.guard for run in runs)


@examples(300)
@given(st.text(alphabet="abc é😀", max_size=60), st.lists(SPANS, max_size=5))
def test_redaction_removes_every_marked_character_and_no_other(text: str, spans: list[Span]) -> None:
    hidden = {index for span in spans for index in range(span.start, min(span.end, len(text)))}
    kept = "".join(character for index, character in enumerate(text) if index not in hidden)
    assert apply_redactions(text, spans).replace(REDACTION_MARK, "") == kept


def test_overlapping_and_touching_spans_become_one_mark() -> None:
    spans = (
        Span(start=5, end=8),
        Span(start=2, end=6),
        Span(start=8, end=9),
        Span(start=20, end=30),
        Span(start=0, end=0),
    )
    assert apply_redactions("0123456789", spans) == f"01{REDACTION_MARK}9"
