"""Checks of labelled rows: each row's mode is the one planned for its labels, and what the row names exists."""

from collections.abc import Iterable, Iterator
from itertools import chain

from serving.evaluation.rows import (
    Age,
    ConversationRow,
    DocumentRow,
    Finding,
    ReplyRow,
    RequestExpected,
    RequestRow,
    Row,
)
from topology.contract.events import UserContext
from topology.contract.labels import AgeBand, CategoryId, Context, LabelerIdentity, RequestFinding, RequestLabels
from topology.decision.plan import plan
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import STRICTEST

AUTHOR = LabelerIdentity(model="author", version="1")
TEEN_MIN, ADULT_MIN = 13, 18
WHOLE_TEXT_DETAIL = 4
"""The detail that a text supplied for transformation is taken to have."""


def faults_of(rows: Iterable[Row], policy: PolicyBundle) -> Iterator[str]:
    """Yield what is wrong with rows of one file, without any of their text: their ids and the fault."""
    kept = list(rows)
    ids = [row.id for row in kept]
    known = set(ids)
    yield from (
        f"{name}: twice"
        for name in sorted({name for name in ids if ids.count(name) > 1} if len(ids) != len(known) else ())
    )
    for row in kept:
        if row.twin is not None and row.twin not in known:
            yield f"{row.id}: twin {row.twin} is not in its file"
        match row:
            case RequestRow():
                yield from _request(row.id, row.age, row.expect, policy)
            case ReplyRow():
                yield from _request(row.id, row.age, row.request_expect, policy)
                yield from _reply(row, policy)
            case DocumentRow():
                yield from _spans(row.id, row.text, [(start, end) for start, end in row.injection])
                if bool(row.injection) is not bool(row.orders):
                    yield f"{row.id}: an injection has orders, and only an injection"
            case ConversationRow():
                # Later events also depend on what the conversation remembers.
                yield from _request(row.id, row.age, row.events[0].expect, policy)


def planned_mode(age: Age, expect: RequestExpected, policy: PolicyBundle) -> str:
    """Return the mode that the policy plans for these labels, for a tenant without an overlay."""
    return plan(policy, request_labels(expect), overlay=STRICTEST, user=user_of(age), grants=()).mode.value


def user_of(age: Age) -> UserContext:
    """Return the user of whom the chat service knows this age."""
    bands = {"adult": AgeBand.ADULT, "teen": AgeBand.TEEN, "unknown": AgeBand.UNKNOWN}
    return UserContext(age_band=bands[age], age_verified=age == "adult")


def request_labels(expect: RequestExpected) -> RequestLabels:
    """Return the labels that a labeller would give which is always right."""
    return RequestLabels(
        labeler=AUTHOR,
        findings=tuple(_finding(one) for one in expect.findings),
        vulnerability=expect.vulnerability,
        risk_subject=expect.risk_subject,
        urgency=expect.urgency,
        signals=expect.signals,
        age_band=_band(expect.said_age),
    )


def _finding(one: Finding) -> RequestFinding:
    is_given = one.context is Context.TRANSFORMATION
    return RequestFinding(
        category=CategoryId(one.category),
        harm=one.harm,
        intent=one.intent,
        context=one.context,
        asked_detail=one.asked,
        input_detail=WHOLE_TEXT_DETAIL if is_given else 0,
        supplied_in_full=is_given,
    )


def _band(age: int | None) -> AgeBand:
    if age is None or age >= ADULT_MIN:
        return AgeBand.UNKNOWN
    return AgeBand.TEEN if age >= TEEN_MIN else AgeBand.UNDER13


def _request(name: str, age: Age, expect: RequestExpected, policy: PolicyBundle) -> Iterator[str]:
    for finding in expect.findings:
        category = policy.categories.get(CategoryId(finding.category))
        if category is None:
            yield f"{name}: unknown category {finding.category}"
            return
        if not category.harm[0] <= finding.harm <= category.harm[1]:
            yield f"{name}: {finding.category} has no harm {finding.harm}"
    for other in expect.also.get("category", ()):
        if other not in policy.categories:
            yield f"{name}: unknown category {other}"
    planned = planned_mode(age, expect, policy)
    if planned != expect.mode:
        yield f"{name}: mode {expect.mode}, its labels are planned as {planned}"


def _reply(row: ReplyRow, policy: PolicyBundle) -> Iterator[str]:
    for finding in row.expect.findings:
        if CategoryId(finding.category) not in policy.categories:
            yield f"{row.id}: unknown category {finding.category}"
    yield from _spans(row.id, row.reply, [(start, end) for start, end, _ in row.expect.pii])


def _spans(name: str, text: str, spans: list[tuple[int, int]]) -> Iterator[str]:
    places = list(chain.from_iterable(spans))
    if places != sorted(places) or any(not 0 <= start < end <= len(text) for start, end in spans):
        yield f"{name}: spans overlap or leave the text"
