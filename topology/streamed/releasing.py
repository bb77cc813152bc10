"""What leaves of an answer before it is whole, through its event's `Releases`, and the answer's end after it.

Whatever ends an event, its response begins with all text that this run has sent, or says that it replaces it.
"""

import asyncio
import logging
from dataclasses import dataclass

from msgspec import structs

from topology.contract.errors import Replaced
from topology.contract.labels import OutputLabels, ReleasedText
from topology.contract.lineage import position_of
from topology.contract.names import DraftSource
from topology.ports import Clock, ReleasesFactory
from topology.steps.audit import DRAFT_SOURCES, audit_id, well_formed
from topology.steps.case import Case, Decision, Streamed
from topology.steps.time_limit import TimeLimit
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric

logger = logging.getLogger("sluicegate.streaming")

PARAGRAPH = "\n\n"


@dataclass(frozen=True, slots=True)
class Releasing:
    """The way out for text of answers that are not whole. With `make` None, every answer leaves whole.

    `open_timeout_s` bounds how long an event waits for its run to be opened and read back, and for one segment to be
    written: where the stream cannot be written, answers leave whole.
    """

    make: ReleasesFactory | None
    open_timeout_s: float
    clock: Clock
    metrics: Instruments

    def open(self, case: Case) -> None:
        """Begin the run of an event that asks for a stream. It is opened and read back beside what follows."""
        if not self.is_asked(case):
            return
        assert self.make is not None
        record_id = audit_id(position_of(case.record), case.event.event_id)
        releases = self.make(case.record, case.event, record_id)
        opening = asyncio.ensure_future(releases.open())
        opening.add_done_callback(_retrieved)
        case.streamed = Streamed(releases=releases, opening=opening)

    def is_asked(self, case: Case) -> bool:
        """Return whether text of this event may leave before its answer is whole. A canary's never does."""
        return self.make is not None and case.event.stream and case.event.canary is None

    def close(self, case: Case) -> None:
        """Stop what still runs for an event that has ended, or was cancelled."""
        if case.streamed is not None:
            case.streamed.opening.cancel()

    async def is_opened(self, case: Case, within_s: float) -> bool:
        """Wait until this run was read back, for a while; return whether it was."""
        opened, _ = await asyncio.wait([_of(case).opening], timeout=within_s)
        return bool(opened)

    async def begun(self, case: Case) -> str:
        """Return the text that earlier runs released, once this run was read back; empty if nothing more may leave."""
        streamed = _of(case)
        if streamed.is_silenced:
            return ""
        try:
            with TimeLimit(self.open_timeout_s):
                return await asyncio.shield(streamed.opening)
        except TimeoutError:
            self.silence(case, "not read back in time")
            streamed.opening.cancel()
        except Replaced as exc:
            self.silence(case, exc.reason)
        except Exception as exc:  # noqa: BLE001 - whatever failed, what readers have seen is not known
            self.silence(case, type(exc).__name__)
        return ""

    async def release(self, case: Case, text: str, piece: ReleasedText, *, shown: str, is_last: bool = False) -> None:
        """Let a judged text leave; `shown` is all text up to its end. Nothing leaves once the run is replaced."""
        streamed = _of(case)
        is_first = not streamed.pieces
        _add(streamed.pieces, piece)
        streamed.shown = shown
        if streamed.is_silenced:
            return
        try:
            with TimeLimit(self.open_timeout_s):
                await streamed.releases.release(text, piece.source, is_last=is_last)
        except TimeoutError:
            self.silence(case, "not written in time")
            return
        except Replaced as exc:
            self.silence(case, exc.reason)
            return
        except Exception as exc:  # noqa: BLE001 - whatever failed, what readers have seen is not known
            self.silence(case, type(exc).__name__)
            return
        if streamed.releases.sent != shown:
            self.silence(case, "other text was sent")
        if is_first and case.record.receipt is not None:
            waited_s = self.clock.monotonic_s() - case.record.receipt.at_s
            self.metrics.observe(Metric.STREAM_FIRST_TEXT, waited_s, case.trace.context)

    def note(self, case: Case, labels: OutputLabels) -> None:
        """Note the findings in text that has left, for the conversation's state."""
        findings = _of(case).findings
        for finding in labels.findings:
            known = findings.get(finding.category)
            if known is None or finding.detail_hi > known.detail_hi:
                findings[finding.category] = finding

    def note_over(self, case: Case, labels: OutputLabels) -> None:
        """Note that a fault was found in text that has left."""
        streamed = _of(case)
        self.note(case, labels)
        if not streamed.is_over:
            streamed.is_over = True
            self.metrics.count(Metric.STREAM_RELEASED_OVER)
            logger.error("a fault was found in streamed text", extra={"event_id": case.event.event_id})

    async def completed(self, case: Case, decision: Decision) -> Decision:
        """Return the decision with an answer that begins with all text that was sent, or say that it replaces it."""
        streamed = case.streamed
        if streamed is None:
            return decision
        await self._settled(case, streamed)
        text = well_formed(decision.answer.text)
        is_after = case.is_replaced or text.startswith(streamed.releases.sent)
        if not is_after and decision.answer.source not in DRAFT_SOURCES:
            answer = structs.replace(decision.answer, text=joined(streamed.releases.sent, text), parts=())
            decision = structs.replace(decision, answer=answer)
        else:
            if not is_after:  # a draft that nobody has judged together with what was sent
                self.silence(case, "other text was sent")
            if not text.startswith(streamed.shown):  # it replaces what was shown
                streamed.pieces.clear()
        self._note_rest(streamed, decision)
        return decision

    async def _settled(self, case: Case, streamed: Streamed) -> None:
        """Wait until the run was read back: no response may precede that, unless it says that it replaces."""
        try:
            with TimeLimit(self.open_timeout_s):
                await self.begun(case)
                if not streamed.is_silenced:
                    await self._open_again(case, streamed)
        except TimeoutError:
            self.silence(case, "not read back in time")
            streamed.opening.cancel()

    async def _open_again(self, case: Case, streamed: Streamed) -> None:
        """Read back again before the response if the partition has changed hands, or the last write is unknown."""
        before = streamed.releases.sent
        try:
            after = await streamed.releases.open()
        except Replaced as exc:
            self.silence(case, exc.reason)
        except Exception as exc:  # noqa: BLE001 - whatever failed, what readers have seen is not known
            self.silence(case, type(exc).__name__)
        else:
            if not before.startswith(after):
                self.silence(case, "other text was sent")

    def _note_rest(self, streamed: Streamed, decision: Decision) -> None:
        """Note where the rest of an answer comes from, of which a part was streamed."""
        answer, known = decision.answer, sum(piece.length for piece in streamed.pieces)
        if not streamed.pieces and streamed.releases.sent and answer.text.startswith(streamed.releases.sent):
            known = len(streamed.releases.sent)
            streamed.pieces.append(ReleasedText(length=known, source=DraftSource.GENERATOR))
        if known and len(answer.text) > known:
            _add(streamed.pieces, ReleasedText(length=len(answer.text) - known, source=answer.source))

    def silence(self, case: Case, why: str) -> None:
        """Let nothing more of this event leave before its response, which replaces what was shown."""
        streamed = _of(case)
        if not streamed.is_silenced:
            logger.warning("nothing more is streamed", extra={"event_id": case.event.event_id, "reason": why})
        streamed.is_silenced = case.is_replaced = True


def joined(shown: str, closing: str) -> str:
    """Return an answer that was closed: what was shown, and the policy's own words in a paragraph of their own."""
    if not shown:
        return closing
    return shown + ("" if shown.endswith(PARAGRAPH) else "\n" if shown.endswith("\n") else PARAGRAPH) + closing


def _add(pieces: list[ReleasedText], piece: ReleasedText) -> None:
    """Add a piece; one that comes from where the last one does makes that longer."""
    if not piece.length:
        return
    last = pieces[-1] if pieces else None
    if last is not None and structs.replace(last, length=piece.length) == piece:
        pieces[-1] = structs.replace(last, length=last.length + piece.length)
    else:
        pieces.append(piece)


def _of(case: Case) -> Streamed:
    assert case.streamed is not None, "an event that is answered whole"
    return case.streamed


def _retrieved(opening: asyncio.Future[str]) -> None:
    """Take note of an error that nobody waits for, so that the loop does not report it."""
    if not opening.cancelled():
        opening.exception()
