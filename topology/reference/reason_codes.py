"""Every reason code of a response: its words, and whether asking again may help.

As a page: `python -m topology.reference.reason_codes > docs/reason-codes.md`. The verdict rows are those of the
packaged policy; a bundle with rows of its own has codes of its own.
"""

import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from topology.contract.errors import DeadLetterReason
from topology.contract.labels import Outcome
from topology.contract.names import ActionReason, LlmRole, StageName
from topology.decision.judge import CLEAN_RULE
from topology.decision.plan import AGE_UNKNOWN
from topology.policy.verdict_table import UNMATCHED
from topology.steps.audit import TRUNCATED
from topology.steps.withholding import CLIENT_GONE, DUPLICATE_EVENT, ONLY_IMAGES, RATE_LIMITED


class Again(StrEnum):
    """What may be sent again, if anything; the values are the words of the page."""

    NO = "no: this is the answer"
    SAME = "yes, the same event with the same event id"
    LATER = "yes, the same event with the same event id, after `retry_after_ms`"
    CORRECTED = "yes, once it is corrected; the same event id may be kept"
    FIRST = "no: wait for, or look up, the answer that `duplicate_of` names"
    ASK_OPERATOR = "once an operator has looked: the event is kept as a dead letter"


class Reason(Struct, frozen=True):
    """A code in words, and whether the event may be sent again."""

    words: str
    again: Again = Again.NO


VERDICT_REASONS = {
    UNMATCHED.id: Reason("the draft has a fault that no row of the policy describes"),
    "V01": Reason(
        "a check of the draft failed or was late, so nobody could tell whether it may be published", Again.SAME
    ),
    "V02": Reason("the draft has content that is prohibited at any level of detail"),
    "V03": Reason("the draft has more detail than allowed on a subject of the gravest harm"),
    "V04": Reason("the draft had personal data that could be cut out"),
    "V05": Reason("the checks disagree widely on a serious subject; a person looks at it"),
    "V06a": Reason("a draft had more detail than allowed on a serious subject, and was made again with less"),
    "V06b": Reason("every draft had more detail than allowed on a serious subject"),
    "V07": Reason("a draft had far more detail than allowed, and was made again with less"),
    "V08a": Reason("a draft had slightly more detail than allowed, and was revised"),
    "V08b": Reason("every draft had slightly more detail than allowed"),
    "V09a": Reason("the draft had confidential text, or text from an injected instruction, that could be cut out"),
    "V09b": Reason("a draft followed an injected instruction or revealed confidential text, and was revised"),
    "V09c": Reason("every draft followed an injected instruction or revealed confidential text"),
    "V10a": Reason("a draft lacked something that the plan requires, and was revised"),
    "V10b": Reason("every draft lacked something that the plan requires"),
    "V11a": Reason("a draft treated people differently without cause, and was revised"),
    "V11b": Reason("every draft treated people differently without cause; a person looks at it"),
    "V12a": Reason("a draft only refused somebody who needs support, and was revised"),
    "V12b": Reason("every draft only refused somebody who needs support; the policy's own text was sent"),
    "V12c": Reason("a draft only refused what may be answered in part, and was revised"),
    "V12d": Reason("the model only refused, although a part may be answered; its refusal was published"),
    "V12e": Reason("a draft declined a harmless question, and was revised"),
    "V12f": Reason("the model declined a harmless question; its answer was published"),
    "V13a": Reason("a draft had a fault of style or manner, and was revised"),
    "V13b": Reason("the answer has a fault of style or manner, and was published"),
    CLEAN_RULE: Reason("no fault was found"),
}
"""The rules of the packaged policy's verdicts. The one that decided comes first in `reason_codes`."""

OTHER_REASONS = {
    DeadLetterReason.INVALID.value: Reason(
        "the record breaks the contract; `detail` has the path and the rule", Again.CORRECTED
    ),
    "deadline": Reason(
        "the event's deadline passed (`deadline_ms` is a time, not a duration); a second code may say why the model had"
        " not answered",
        Again.SAME,
    ),
    ActionReason.OVERLOADED.value: Reason("the worker was too busy to answer before the deadline", Again.SAME),
    RATE_LIMITED: Reason("the tenant is over its budget", Again.LATER),
    DUPLICATE_EVENT: Reason("this event id was answered before in this conversation", Again.FIRST),
    DeadLetterReason.PROCESSING_FAILED.value: Reason("a malfunction of Sluicegate", Again.ASK_OPERATOR),
    DeadLetterReason.POISON.value: Reason("its worker crashed each time it processed this event", Again.ASK_OPERATOR),
    ONLY_IMAGES: Reason("the user's last message has only images, which nobody here sees: send text"),
    CLIENT_GONE: Reason("nobody waited for the answer any more", Again.SAME),
    TRUNCATED: Reason("the model reached its limit of tokens: the answer stops before its end"),
    AGE_UNKNOWN: Reason("the user's age is unknown, which made the answer stricter; send a verified age band"),
}
"""The codes that no row of the policy gives."""

OUTCOME_REASONS = {
    Outcome.TIMEOUT: Reason("{part} did not answer in time", Again.SAME),
    Outcome.UNREACHABLE: Reason("{part} could not be reached", Again.SAME),
    Outcome.OVERLOADED: Reason("{part} was overloaded", Again.LATER),
    Outcome.REFUSED: Reason(
        "{part} refused the request: credentials, a filter of its own, or a limit", Again.ASK_OPERATOR
    ),
    Outcome.UNPARSABLE: Reason("{part} answered in a form that cannot be read", Again.SAME),
    Outcome.CRASHED: Reason("{part} crashed", Again.SAME),
}
"""Codes `<part>_<outcome>`: a part that an answer needs could not do its work. Any part may be named."""

PARTS = {
    StageName.ASSESS.value: "the assessment of the request",
    LlmRole.GENERATOR.value: "the model that answers",
}
"""The parts that usually stand in such codes; another is a guard or a model by its own name."""


def reason_of(code: str, named: Mapping[str, Reason] = VERDICT_REASONS | OTHER_REASONS) -> Reason | None:
    """Return the words of a code, and whether asking again may help; None if no part of Sluicegate gives it."""
    if code in named:
        return named[code]
    part, _, outcome = code.rpartition("_")
    found = next((reason for name, reason in OUTCOME_REASONS.items() if name.value == outcome), None)
    if found is None or not part:
        return None
    return Reason(found.words.format(part=PARTS.get(part, f"the part {part}")), found.again)


_INTRODUCTION = """\
# Reason codes

Generated by `python -m topology.reference.reason_codes`; change the table there, not this page.

`reason_codes` of a response say why it is as it is, the one that decided first. Readers must not fail on a code that
they do not know: a policy may have rows of its own, and a later version may add codes.

Where the table says that the same event may be sent again, the response is a failure and is not remembered as the
event's answer: the event runs anew. Always ask again with the *same* event id: if the first answer came about
after all, you get `duplicate_event` instead of a second generation.
[Your chat service](chat-service.md) has the whole of it."""


def page() -> str:
    """Return the page, with a line end."""
    parts = {
        f"{part}_{outcome.value}": Reason(reason.words.format(part=words), reason.again)
        for part, words in PARTS.items()
        for outcome, reason in OUTCOME_REASONS.items()
    }
    any_part = {
        f"<part>_{outcome.value}": Reason(reason.words.format(part="the guard or model of that name"), reason.again)
        for outcome, reason in OUTCOME_REASONS.items()
    }
    lines = (
        _INTRODUCTION,
        *_table("Verdicts of the packaged policy", VERDICT_REASONS),
        *_table("Everything else", OTHER_REASONS),
        *_table("A part that could not do its work", parts | any_part),
    )
    return "\n".join(lines) + "\n"


def _table(title: str, reasons: Mapping[str, Reason]) -> Iterable[str]:
    yield f"\n## {title}\n"
    yield "| code | in words | may it be asked again? |"
    yield "|---|---|---|"
    for code, reason in reasons.items():
        yield f"| `{code}` | {reason.words} | {reason.again.value} |"


if __name__ == "__main__":
    sys.stdout.write(page())
