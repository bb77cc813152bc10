"""The pinned examples: one conversation for each kind of decision, which the demo shows first and draft by draft."""

from functools import lru_cache
from importlib import resources

import msgspec
from msgspec import Struct

from topology.contract.events import (
    Action,
    Candidate,
    ConversationEvent,
    GenerationParameters,
    Message,
    Role,
    TextPart,
    UserContext,
)
from workers.commands.demo.samples import UPSTREAM
from workers.commands.demo.scripts import ABOVE, WITHIN, Script, ScriptKind

WORD_MS = 50
"""The time of a word of a streamed answer: about as fast as one reads, and no sentence takes as long as two seconds."""


class Example(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One conversation, and the action that it must end in. A `document` is what a tool returned.

    With a `candidate`, the answer comes from upstream; else the scripted model answers by `kind`, `above` and `within`.
    With `streams`, the answer is asked for as a stream, and the model writes it slowly: `within` goes on with what was
    released of `above`.
    """

    name: str
    shows: str
    question: str
    action: Action
    kind: ScriptKind = ScriptKind.PLAIN
    above: str = ABOVE
    within: str = WITHIN
    candidate: str = ""
    document: str = ""
    streams: bool = False
    tenant: str = "open-chat"
    locale: str = "en"
    region: str = "GB"

    @property
    def script(self) -> Script:
        """Return what the scripted model says."""
        word_ms = WORD_MS if self.streams else 0
        return Script(question=self.question, within=self.within, above=self.above, kind=self.kind, word_ms=word_ms)

    def conversation_id(self, seed: int) -> str:
        """Return the id of the conversation in a run with this seed."""
        return f"demo-{seed}-{self.name}"

    def event(self, seed: int) -> ConversationEvent:
        """Return the event of a run with this seed."""
        conversation_id = self.conversation_id(seed)
        turns = [(Role.USER, self.question), *([(Role.TOOL, self.document)] if self.document else [])]
        candidate = Candidate(parts=(TextPart(text=self.candidate),), model=UPSTREAM) if self.candidate else None
        return ConversationEvent(
            event_id=f"{conversation_id}-1",
            conversation_id=conversation_id,
            tenant_id=self.tenant,
            messages=tuple(Message(role=role, parts=(TextPart(text=text),)) for role, text in turns),
            candidate=candidate,
            user=UserContext(subject=f"subject-{conversation_id}", locale=self.locale, region=self.region),
            generation=GenerationParameters(temperature=0.0),
            stream=self.streams,
        )


@lru_cache(maxsize=1)
def examples() -> tuple[Example, ...]:
    """Return the packaged `examples.yaml`, in its order."""
    data = resources.files("workers.commands.demo.story").joinpath("examples.yaml").read_bytes()
    return msgspec.yaml.decode(data, type=tuple[Example, ...])


def is_example(event_id: str) -> bool:
    """Return whether an event of a run is one of the examples, whatever the seed."""
    return any(event_id.endswith(f"-{each.name}-1") for each in examples())


def example_scripts() -> list[Script]:
    """Return the scripts of the examples that a model answers. Two tenants may ask the same."""
    return list({each.question: each.script for each in examples() if not each.candidate}.values())
