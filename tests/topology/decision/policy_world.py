"""Builders and strategies for tests of the policy: the packaged bundle, worked examples, the finite space of labels."""

from functools import cache
from typing import Literal, cast

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from tests.checkout import ROOT
from topology.contract.events import UserContext
from topology.contract.labels import (
    AgeBand,
    CategoryId,
    Confidence,
    Context,
    GuardRun,
    Intent,
    LabelerIdentity,
    Mode,
    Outcome,
    OutputFinding,
    OutputLabels,
    Plan,
    RequestFinding,
    RequestLabels,
    Severity,
    SideEffect,
    Signal,
    Span,
    VerdictKind,
    Vulnerability,
)
from topology.decision.plan import plan
from topology.policy.bundle import AgeDefault, Authority, PolicyBundle
from topology.policy.loading import load_bundle, packaged_bundle
from topology.policy.overlays import Deployment, Raise, TenantOverlay

DATA = ROOT / "tests" / "data" / "policy"
LABELER = LabelerIdentity(model="test-labeler", version="1")
ADULT = UserContext(age_band=AgeBand.ADULT, age_verified=True)
TEEN = UserContext(age_band=AgeBand.TEEN)
OPEN = TenantOverlay(tenant_id="t", version="1", age_default=AgeDefault.ADULT)
GUARDS = (GuardRun(guard="classification", version="1", outcome=Outcome.OK),)

Document = dict[str, object]


@cache
def bundle() -> PolicyBundle:
    """The policy that ships."""
    return packaged_bundle()


def document() -> Document:
    """A fresh copy of the shipped policy as plain values, to be spoilt."""
    path = ROOT / "topology" / "policies" / "safe-completion-core.yaml"
    return cast("Document", msgspec.yaml.decode(path.read_bytes()))


def load(changed: Document) -> PolicyBundle:
    """What the loader makes of a document."""
    return load_bundle(msgspec.json.encode(changed))


class CaseFinding(Struct, frozen=True, forbid_unknown_fields=True):
    """A request finding in short: harm defaults to the category's highest, text to transform is supplied in full."""

    cat: CategoryId
    intent: Intent
    asked: int
    harm: int | None = None
    context: Context = Context.GENERAL
    input_detail: int = 0
    supplied_in_full: bool | None = None

    def finding(self) -> RequestFinding:
        """The finding in full."""
        is_supplied = self.context is Context.TRANSFORMATION
        return RequestFinding(
            category=self.cat,
            harm=bundle().categories[self.cat].harm[1] if self.harm is None else self.harm,
            intent=self.intent,
            context=self.context,
            asked_detail=self.asked,
            input_detail=self.input_detail,
            supplied_in_full=is_supplied if self.supplied_in_full is None else self.supplied_in_full,
        )


class CaseRaise(Struct, frozen=True, forbid_unknown_fields=True):
    """An overlay's raise in short."""

    raise_to: int
    by: Authority
    attestation: str


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """A worked example of a request. Without an age the user is a verified adult."""

    id: int
    s: str
    f: tuple[CaseFinding, ...]
    mode: Mode
    C: int
    g: str
    ms: str = ""
    vuln: Vulnerability = Vulnerability.NONE
    age: AgeBand = AgeBand.ADULT
    grants: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()
    overlay: dict[CategoryId, CaseRaise] = {}

    def labels(self) -> RequestLabels:
        """The request's labels."""
        return labels(*(each.finding() for each in self.f), vulnerability=self.vuln, signals=self.signals)

    def user(self) -> UserContext:
        """The user."""
        return UserContext(age_band=self.age, age_verified=self.age is AgeBand.ADULT)

    def tenant(self) -> TenantOverlay:
        """The tenant's overlay, in the shape that overlays have."""
        raises = {
            name: Raise(to=short.raise_to, by=short.by, attestation=short.attestation)
            for name, short in self.overlay.items()
        }
        return msgspec.structs.replace(OPEN, raises=raises)

    def plan(self) -> Plan:
        """What the policy plans for it."""
        return plan(bundle(), self.labels(), overlay=self.tenant(), user=self.user(), grants=self.grants)


class OutputCase(Struct, frozen=True, forbid_unknown_fields=True):
    """A worked example of a draft, on the plan of request `case`."""

    id: str
    s: str
    case: int
    attempts: int
    owed: Literal["all"] | tuple[str, ...]
    out: OutputLabels
    verdict: VerdictKind
    rules: tuple[str, ...]
    side_effects: tuple[SideEffect, ...] = ()
    flags: tuple[str, ...] = ()
    redactions: tuple[Span, ...] = ()
    severity: Severity = Severity.NONE
    failed_guard: Outcome = Outcome.OK


def request_cases() -> dict[int, Case]:
    """The worked examples of requests by id."""
    found = msgspec.yaml.decode((DATA / "cases.yaml").read_bytes(), type=tuple[Case, ...])
    return {case.id: case for case in found}


def output_cases() -> tuple[OutputCase, ...]:
    """The worked examples of drafts."""
    return msgspec.yaml.decode((DATA / "cases_output.yaml").read_bytes(), type=tuple[OutputCase, ...])


def labels(
    *findings: RequestFinding, vulnerability: Vulnerability = Vulnerability.NONE, signals: tuple[Signal, ...] = ()
) -> RequestLabels:
    """Request labels of our labeller."""
    return RequestLabels(labeler=LABELER, findings=findings, vulnerability=vulnerability, signals=signals)


CATEGORIES = tuple(sorted(packaged_bundle().categories))
LEVELS = st.integers(0, 4)
CATEGORY = st.sampled_from(CATEGORIES)
GRANTS = st.frozensets(st.sampled_from(sorted(packaged_bundle().grant_names)))
USERS = st.builds(UserContext, age_band=st.sampled_from(AgeBand), age_verified=st.booleans())


def _span(start: int, length: int) -> Span:
    return Span(start=start, end=start + length)


SPANS = st.builds(_span, st.integers(0, 60), st.integers(0, 20))

REQUEST_FINDINGS = st.builds(
    RequestFinding,
    category=CATEGORY,
    harm=LEVELS,
    intent=st.sampled_from(Intent),
    context=st.sampled_from(Context),
    asked_detail=LEVELS,
    input_detail=LEVELS,
    supplied_in_full=st.booleans(),
)
REQUESTS = st.builds(
    RequestLabels,
    labeler=st.just(LABELER),
    findings=st.lists(REQUEST_FINDINGS, max_size=3).map(tuple),
    vulnerability=st.sampled_from(Vulnerability),
    age_band=st.sampled_from(AgeBand),
    age_verified=st.booleans(),
    signals=st.lists(st.sampled_from(Signal), max_size=2, unique=True).map(tuple),
)
LOOSENABLE = sorted(name for name, category in packaged_bundle().categories.items() if category.loosen is not None)
CAPPABLE = sorted(name for name, category in packaged_bundle().categories.items() if category.force_mode is None)


def _raise(name: CategoryId, to: int) -> tuple[CategoryId, Raise]:
    loosen = bundle().categories[name].loosen
    assert loosen is not None
    return name, Raise(to=min(to, loosen.to), by=loosen.by, attestation="licence")


OVERLAYS = st.builds(
    TenantOverlay,
    tenant_id=st.just("t"),
    version=st.just("1"),
    deployment=st.sampled_from(Deployment),
    caps=st.dictionaries(st.sampled_from(CAPPABLE), LEVELS, max_size=4),
    raises=st.lists(st.builds(_raise, st.sampled_from(LOOSENABLE), LEVELS), max_size=3).map(dict),
    age_default=st.sampled_from([None, *AgeDefault]),
)


def _output_finding(
    category: CategoryId, harm: int, levels: tuple[int, int], confidence: Confidence, spans: tuple[Span, ...]
) -> OutputFinding:
    lowest, highest = sorted(levels)
    return OutputFinding(
        category=category,
        harm=harm,
        detail_lo=lowest,
        detail_hi=highest,
        separable=bool(spans),
        spans=spans,
        confidence=confidence,
    )


OUTPUT_FINDINGS = st.builds(
    _output_finding,
    CATEGORY,
    LEVELS,
    st.tuples(LEVELS, LEVELS),
    st.sampled_from(Confidence),
    st.lists(SPANS, max_size=2).map(tuple),
)
OUTCOMES = st.sampled_from(Outcome)
OUTPUTS = st.builds(
    OutputLabels,
    findings=st.lists(OUTPUT_FINDINGS, max_size=3, unique_by=lambda finding: finding.category).map(tuple),
    is_bare_refusal=st.booleans(),
    obligations_present=st.frozensets(st.sampled_from(sorted(packaged_bundle().obligations))).map(
        lambda names: tuple(sorted(names))
    ),
    obeyed_injection=st.booleans(),
    privileged_leak=st.booleans(),
    leak_separable=st.booleans(),
    leak_spans=st.lists(SPANS, max_size=2).map(tuple),
    unfair=st.booleans(),
    soft_violations=st.sampled_from([(), ("preaching",), ("never_heard_of",)]),
    guards=st.just(GUARDS),
)
