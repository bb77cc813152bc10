"""What all checks together say about one draft: their reports merged, in any order, into one set of labels."""

from collections.abc import Iterable, Sequence
from itertools import chain

from topology.labels import CategoryId, Confidence, GuardRun, OutputFinding, OutputLabels, Span
from topology.ports import CheckReport


def merge_reports(reports: Sequence[CheckReport], runs: Sequence[GuardRun]) -> OutputLabels:
    """The labels of a draft. Every fault that any check saw is kept, and so is every run, failed ones included.

    A check that says None does not look for that fault.
    """
    # Lists where a generator would read as well: an event passes here once a draft, and most reports are clean.
    findings: dict[CategoryId, list[OutputFinding]] = {}
    for report in reports:
        for finding in report.findings:
            findings.setdefault(finding.category, []).append(finding)
    leaking = [report for report in reports if report.obeyed_injection or report.privileged_leak]
    return OutputLabels(
        findings=tuple([_merged(findings[name]) for name in sorted(findings)]),
        is_bare_refusal=True in [report.bare_refusal for report in reports],
        offers_present=_names([report.offers_present for report in reports]),
        obligations_present=_names([report.obligations_present for report in reports]),
        obeyed_injection=True in [report.obeyed_injection for report in leaking],
        privileged_leak=True in [report.privileged_leak for report in leaking],
        leak_separable=bool(leaking) and all(report.leak_separable and report.leak_spans for report in leaking),
        leak_spans=ordered_spans([span for report in leaking for span in report.leak_spans]),
        unfair=True in [report.unfair for report in reports],
        soft_violations=_names([report.soft_violations for report in reports]),
        guards=tuple(sorted(runs, key=lambda run: (run.guard, run.version, run.outcome, run.latency_ms))),
    )


def _merged(same: Sequence[OutputFinding]) -> OutputFinding:
    """One category's findings as one: worst harm, lowest and highest detail.

    Only the findings with the highest detail decide whether it is uncertain and whether it can be cut out: a lower
    one that is uncertain by one level is covered, and a redacted text is judged again anyway.
    """
    if len(same) == 1 and not same[0].separable and not same[0].spans:
        return same[0]
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
    )


def _names(groups: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted(set(chain.from_iterable(groups))))


def ordered_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order of start, end and label, each once."""
    return tuple(sorted(set(spans), key=lambda span: (span.start, span.end, span.label)))
