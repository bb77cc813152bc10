"""A decision in words: two lines each, question and outcome, and for pinned examples every draft.

Pure: event, response and audit record in, lines out. A line is cut to the width of the terminal by whoever prints it.
"""

from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap

from rich.text import Text

from topology.contract.events import (
    Action,
    Attempt,
    AuditedResponse,
    AuditRecord,
    ConversationEvent,
    parts_text,
)
from topology.contract.labels import Mode, Outcome, Plan
from topology.contract.names import ActionReason
from topology.contract.texts import request_text
from workers.commands.console.answers import STYLES
from workers.commands.console.terminal import printable
from workers.commands.demo.lateness import late_stages
from workers.commands.demo.story.examples import Example

LINE_CHARACTERS_MAX = 400
INDENT = 18
"""The column in which questions and outcomes begin: behind a mark and the longest action."""

SENT_LINES_MAX = 6
"""The most lines of an example's answer."""

MARKS = {
    Action.PUBLISHED: "✓",
    Action.REDACTED: "✂",
    Action.SAFE_COMPLETED: "◐",
    Action.REFUSED: "✗",
    Action.WITHHELD: "■",
    Action.REJECTED: "⊘",
}
_SUPPORT = {Mode.CRISIS_SUPPORT: "crisis support", Mode.EMERGENCY_GUIDANCE: "emergency help"}
_SUPPORT_MARK = "☎"

RULES = {
    "V00": "a fault that no rule describes",
    "V01": "a check could not tell",
    "V02": "content that is prohibited",
    "V03": "too much detail on the gravest harm",
    "V04": "personal data that can be cut out",
    "V05": "the checks disagree on a serious subject",
    "V06": "too much detail, serious subject",
    "V07": "far too much detail",
    "V08": "a little too much detail",
    "V09": "obeys a document, or reveals secrets",
    "V10": "lacks what must be said",
    "V11": "treats people unequally",
    "V12a": "only refuses",
    "V12b": "only refuses",
    "V12c": "only refuses",
    "V12d": "only refuses",
    "V12e": "declines a harmless question",
    "V12f": "declines a harmless question",
    "V13": "a fault of style",
    "V99": "within limits",
}
"""The rules of verdicts in a few words, by id or its beginning; docs/policy.md has the table."""

FAILURES = {
    ActionReason.DEADLINE.value: "no time was left",
    ActionReason.OVERLOADED.value: "no time was left",
    ActionReason.RATE_LIMITED.value: "its tenant is over a budget",
    "duplicate_event": "answered before",
}
"""Codes of answers that no verdict decided."""


class Decision:
    """One event as it ended: what was asked, what was published, and the record of why."""

    def __init__(self, event: ConversationEvent, response: AuditedResponse, audit: AuditRecord) -> None:
        self.event = event
        self.response = response
        self.audit = audit

    @property
    def label(self) -> tuple[str, str]:
        """Return the mark and the action in words; an answer to somebody at risk is named after that."""
        if self.response.mode in _SUPPORT and self.response.action is not Action.WITHHELD:
            return _SUPPORT_MARK, _SUPPORT[self.response.mode]
        return MARKS[self.response.action], self.response.action.value.replace("_", " ")


def two_lines(decision: Decision) -> tuple[Text, Text]:
    """Return the question behind its action, and the outcome below it."""
    return _question(decision), indented(outcome_words(decision))


def told(decision: Decision, example: Example, width: int) -> Iterator[Text]:
    """Yield what an example shows, its question, its drafts if there are several, and what was sent."""
    yield Text(example.shows, style="bold")
    yield _question(decision)
    if example.document:
        yield indented(f"the page: {example.document}", "dim")
    if len(decision.audit.attempts) > 1:
        yield from (indented(words, "dim") for words in draft_words(decision.audit))
    sent = parts_text(decision.response.parts)
    text = f"sent: {sent}" if len(decision.audit.attempts) > 1 or not decision.audit.attempts else sent
    room = max(width - INDENT, INDENT)
    lines = wrap(printable(text, LINE_CHARACTERS_MAX), room, max_lines=SENT_LINES_MAX, placeholder=" …")
    yield from (indented(line) for line in lines)


def outcome_words(decision: Decision) -> str:
    """Return the outcome as one line: why it differs from a plain answer, and what was sent."""
    why = why_words(decision.audit)
    sent = parts_text(decision.response.parts)
    return f"{why} > {sent}" if why else sent


def why_words(audit: AuditRecord) -> str:
    """Return why an answer is not the first draft as it came; empty for one that is."""
    if late := late_stages(audit):
        return f"no time: {', '.join(late)} was late"
    if not audit.attempts:
        return "; ".join(code_words(code) for code in audit.reason_codes)
    if len(audit.attempts) == 1 and audit.reason_codes[:1] == ("V99",):
        return ""
    codes = [attempt.verdict.rule_ids[0] for attempt in audit.attempts]
    first, last = _words(codes[0]), code_words(codes[-1])
    if len(codes) == 1:
        return last
    return (
        f"{last}, {len(codes)} drafts" if first == _words(codes[-1]) else f"first {code_words(codes[0])}; then {last}"
    )


def draft_words(audit: AuditRecord) -> Iterator[str]:
    """Yield two lines for each draft: what is wrong with it by the deciding rule, and how it begins.

    Drafts that the model repeated are one.
    """
    number = 1
    for _, same in groupby(audit.attempts, key=lambda attempt: attempt.draft and attempt.draft.redacted):
        drafts = list(same)
        last = number + len(drafts) - 1
        which = f"draft {number}" if last == number else f"drafts {number} to {last}"
        yield f"{which}: {judged_words(drafts[-1], audit.plan)}"
        beginning = drafts[0].draft.redacted if drafts[0].draft else "(not logged)"
        yield f"  “{printable(beginning, LINE_CHARACTERS_MAX)}”"
        number = last + 1


def judged_words(attempt: Attempt, plan: Plan | None) -> str:
    """Return what is wrong with a draft by the deciding rule, and by how much."""
    return f"{code_words(attempt.verdict.rule_ids[0])}{_detail(attempt, plan)}"


def code_words(code: str) -> str:
    """Return a reason code with its meaning before it, such as `only refuses (V12d)`."""
    name = code.partition(":")[0]
    words = _words(name)
    return f"{words} ({name})" if name in RULES or name[:3] in RULES else words


def _words(name: str) -> str:
    return RULES.get(name) or RULES.get(name[:3]) or FAILURES.get(name) or name.replace("_", " ")


def _detail(attempt: Attempt, plan: Plan | None) -> str:
    """Return the detail that is furthest above its ceiling, or the check that could not tell; empty without either."""
    ceilings = plan.ceilings if plan else {}
    above = [
        (finding.detail_hi - ceilings[finding.category], finding.detail_hi, ceilings[finding.category])
        for finding in attempt.labels.findings
        if finding.detail_hi > ceilings.get(finding.category, finding.detail_hi)
    ]
    if above:
        _, detail, ceiling = max(above)
        return f": {detail}, allowed {ceiling}"
    failed = [f"{run.guard}: {run.outcome.value}" for run in attempt.labels.guards if run.outcome is not Outcome.OK]
    return f": {', '.join(failed)}" if failed else ""


def _question(decision: Decision) -> Text:
    mark, action = decision.label
    line = Text(f"{mark} {action:<{INDENT - 2}}", style=STYLES[decision.response.action])
    return line.append(printable(request_text(decision.event), LINE_CHARACTERS_MAX), style="default")


def indented(words: str, style: str = "") -> Text:
    """Return a line that begins in the column of outcomes."""
    return Text(" " * INDENT + printable(words, LINE_CHARACTERS_MAX), style=style)
