"""The reports of all checks on one draft, merged in any order into one set of labels."""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from topology.contract.drafts import CheckReport
from topology.contract.labels import (
    CategoryId,
    Confidence,
    Declines,
    GuardRun,
    Level,
    OutputFinding,
    OutputLabels,
    PartlyRead,
    Span,
)

_DECLINES = tuple(Declines)
_ORDER_OF_RUNS = attrgetter("guard", "version", "outcome", "latency_ms")


def merge_reports(reports: Sequence[CheckReport], runs: Sequence[GuardRun]) -> OutputLabels:
    """Merge reports into the labels of a draft; keep every fault that any check saw, and every run, also failed ones.

    A field that is None in a report means that its check does not look for that fault.
    """
    # One pass over the reports, because this runs for every draft of every event.
    findings: dict[CategoryId, list[tuple[str, OutputFinding]]] = {}
    offers: set[str] = set()
    obligations: set[str] = set()
    soft_violations: set[str] = set()
    leaking: list[CheckReport] = []
    is_bare_refusal = unfair = False
    declines = Declines.NONE
    for report in reports:
        for finding in report.findings:
            findings.setdefault(finding.category, []).append((report.check, finding))
        offers.update(report.offers_present)
        obligations.update(report.obligations_present)
        soft_violations.update(report.soft_violations)
        is_bare_refusal = is_bare_refusal or report.bare_refusal is True
        unfair = unfair or report.unfair is True
        declines = max(declines, report.declines or Declines.NONE, key=_DECLINES.index)
        if report.obeyed_injection or report.privileged_leak:
            leaking.append(report)
    return OutputLabels(
        findings=tuple([_merged(findings[name]) for name in sorted(findings)]),
        is_bare_refusal=is_bare_refusal,
        declines=declines,
        offers_present=tuple(sorted(offers)),
        obligations_present=tuple(sorted(obligations)),
        obeyed_injection=True in [report.obeyed_injection for report in leaking],
        privileged_leak=True in [report.privileged_leak for report in leaking],
        leak_separable=bool(leaking) and all(report.leak_separable and report.leak_spans for report in leaking),
        leak_spans=ordered_spans([span for report in leaking for span in report.leak_spans]),
        unfair=unfair,
        soft_violations=tuple(sorted(soft_violations)),
        guards=tuple(sorted(runs, key=_ORDER_OF_RUNS)),
        partly_read=max((each.partly_read for each in reports if each.partly_read), key=_least_read, default=None),
    )


def _least_read(partial: PartlyRead) -> tuple[int, int, int]:
    """Return the order of several accounts of one draft: the one that leaves most in doubt is the greatest."""
    return partial.marked_unread, -partial.read, partial.windows


def _merged(reported: Sequence[tuple[str, OutputFinding]]) -> OutputFinding:
    """Merge the findings of one category, each with its check: worst harm, lowest and highest detail, all sources.

    Only the findings with the highest detail decide whether the result is uncertain and whether it can be cut out: a
    lower finding that is uncertain by one level is covered by them, and a redacted text is judged again anyway.
    """
    same = [finding for _, finding in reported]
    if len(same) == 1 and not same[0].separable and not same[0].spans:
        return same[0]
    seen = _seen_by(reported)
    highest = max(finding.detail_hi for finding in same)
    top = [finding for finding in same if finding.detail_hi == highest]
    is_low = any(finding.confidence is Confidence.LOW for finding in top)
    return OutputFinding(
        category=same[0].category,
        harm=max(finding.harm for finding in same),
        detail_lo=min(finding.detail_lo for finding in same),
        detail_hi=highest,
        separable=all(finding.separable and finding.spans for finding in top),
        spans=ordered_spans(span for finding in same for span in finding.spans),
        confidence=Confidence.LOW if is_low else Confidence.HIGH,
        probability=max((found.probability for found in same if found.probability is not None), default=None),
        sources=tuple(sorted(seen)) if len(seen) > 1 else (),
        agreed=sorted(seen.values())[-2] if len(seen) > 1 else 0,
    )


def _seen_by(reported: Sequence[tuple[str, OutputFinding]]) -> dict[str, Level]:
    """Return the highest detail that each source sees. Of a finding with several sources, only the first sees all."""
    seen: dict[str, Level] = {}
    for check, finding in reported:
        for place, name in enumerate(finding.sources or (check,)):
            seen[name] = max(seen.get(name, 0), finding.agreed if place else finding.detail_hi)
    return seen


def ordered_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the spans in order of start, end and label, each once."""
    return tuple(sorted(set(spans), key=lambda span: (span.start, span.end, span.label)))
