"""A streamed example in words: each segment as it arrives, with its time, then how the answer ended.

Pure: records of the stream, response and audit record in, lines out. Times count from the opening of the event's first
run, by the brokers' clock.
"""

from collections.abc import Iterator
from textwrap import wrap

from rich.text import Text

from topology.contract.events import AuditRecord, parts_text
from topology.contract.labels import Extent
from topology.contract.streams import StreamKind, StreamRecord
from topology.streaming.reader_rule import Shown
from workers.commands.console.answers import STYLES
from workers.commands.console.terminal import printable
from workers.commands.demo.story.examples import Example
from workers.commands.demo.story.outcomes import INDENT, LINE_CHARACTERS_MAX, Decision, indented, judged_words

MARK = "▸"


class StreamTold:
    """One streamed example as it is told in a terminal of `width` columns, by the rule that every reader follows."""

    def __init__(self, example: Example, width: int) -> None:
        self._example = example
        self._room = max(width - INDENT, INDENT)
        self._shown = Shown()
        self._opened_ms: int | None = None
        self._answered_ms = 0

    def begin(self) -> tuple[Text, ...]:
        """Return what the example shows, and its question."""
        asked = printable(self._example.question, LINE_CHARACTERS_MAX)
        question = Text(f"{MARK} {'streaming':<{INDENT - 2}}{asked}")
        return Text(self._example.shows, style="bold"), question

    def add(self, record: StreamRecord, at_ms: int) -> tuple[Text, ...]:
        """Take a record of the answer's stream, appended at a time; return the lines of what is shown now."""
        if record.kind is StreamKind.OPENED and self._opened_ms is None:
            self._opened_ms = at_ms
        return tuple(self._text(self._shown.take(record), at_ms))

    def answered(self, at_ms: int) -> None:
        """Take the time of the response, which ends the stream."""
        self._answered_ms = at_ms

    def end(self, decision: Decision) -> tuple[Text, ...]:
        """Return what the response adds to what was shown, how it ended, and why a draft was stopped."""
        has_shown = bool(self._shown.text)
        ending = self._shown.end(parts_text(decision.response.parts))
        mark, action = decision.label
        line = Text(f"{mark} {action:<{INDENT - 2}}", style=STYLES[decision.response.action])
        if not has_shown:
            stays = "in one piece"
        else:
            stays = "in place of what was shown" if ending.is_replacing else "what was shown stays"
        line.append(f"{self._after(self._answered_ms)}, {stays}", style="default")
        drafts = [indented(words, "dim") for words in self._draft_words(decision)]
        return (*self._text(ending.text, self._answered_ms), line, *drafts)

    def _draft_words(self, decision: Decision) -> Iterator[str]:
        """Yield three lines for each draft that was stopped, and one for one that was not, if there are several."""
        audit = decision.audit
        if len(audit.attempts) < 2:
            return
        text = parts_text(decision.response.parts)
        for number, attempt in enumerate(audit.attempts, 1):
            yield f"draft {number}: {judged_words(attempt, audit.plan)}"
            if attempt.extent is not Extent.PREFIX:
                continue
            whole = len(self._example.above.split())
            yield f"its request was closed after {attempt.usage.output_tokens} of {whole} words; never shown:"
            draft = attempt.draft.redacted if attempt.draft else "(not logged)"
            stopped = draft.removeprefix(text[: _released_length(audit, number)])
            yield f"“{printable(stopped, LINE_CHARACTERS_MAX)}”"

    def _text(self, text: str, at_ms: int) -> Iterator[Text]:
        """Yield a piece of text behind its time."""
        lines = wrap(printable(text, LINE_CHARACTERS_MAX), self._room)
        for number, words in enumerate(lines):
            yield Text(f"{'' if number else f'  {self._after(at_ms)}':<{INDENT}}{words}")

    def _after(self, at_ms: int) -> str:
        seconds = 0 if self._opened_ms is None else max(0, at_ms - self._opened_ms) / 1000
        return f"after {seconds:.1f} s"


def _released_length(audit: AuditRecord, attempt: int) -> int:
    """Return how many characters had left when a draft was stopped."""
    return sum(piece.length for piece in audit.released if piece.attempt <= attempt)
