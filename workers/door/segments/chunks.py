"""The chunks of a stream that is sent while its answer is made, and how it ends."""

from msgspec import Struct

from topology.contract.events import parts_text
from workers.door.outcomes import chunk_of, finish_reason, server_event, told_of, usage_of
from workers.door.reasons import Answered, end_of
from workers.door.refusals import Refusal
from workers.door.requests import Asked
from workers.door.segments.live import Live

DONE = b"data: [DONE]\n\n"


class Chunks(Struct, frozen=True):
    """The chunks of one stream. `event_id` is named until the answer has an audit id."""

    asked: Asked
    live: Live
    event_id: str
    created_s: int

    def role(self) -> bytes:
        """Return the first chunk."""
        return self._chunk({"role": "assistant", "content": ""})

    def delta(self, text: str) -> bytes:
        """Return further text."""
        return self._chunk({"content": text})

    def end(self, answered: Answered) -> bytes:
        """Return the end of a stream whose answer is there: what it adds, unless it contradicts what was sent."""
        rest = self.live.rest_of(parts_text(answered.parts))
        reason = "content_filter" if rest is None else finish_reason(answered, end_of(answered))
        told = {**told_of(answered), "replaced": rest is None}
        usage = server_event({**self._named(), "choices": [], "usage": usage_of(answered)})
        return b"".join(
            [
                self.delta(rest) if rest else b"",
                self._chunk({}, reason, told),
                usage if self.asked.with_usage else b"",
                DONE,
            ]
        )

    def broken_off(self, refusal: Refusal) -> bytes:
        """Return the end of a stream whose answer does not come."""
        told = {"event_id": self.event_id, "action": None, "audit_id": None, "error": refusal.error}
        return self._chunk({}, "content_filter", told) + DONE

    def _chunk(self, delta: dict[str, object], finish: str | None = None, told: object = None) -> bytes:
        body = {**self._named(), "choices": [chunk_of(delta, finish)]}
        return server_event(body if told is None else {**body, "sluicegate": told})

    def _named(self) -> dict[str, object]:
        named: dict[str, object] = {
            "id": f"chatcmpl-{self.live.audit_id or self.event_id}",
            "object": "chat.completion.chunk",
            "created": self.created_s,
            "model": self.asked.model,
        }
        return {**named, "usage": None} if self.asked.with_usage else named
