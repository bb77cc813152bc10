"""The rounds of the demo: one model after the other answers its share of the conversations."""

from enum import StrEnum

from msgspec import Struct

from topology.contract.events import ConversationEvent
from workers.commands.demo.parts import MODEL_NAME as TINY
from workers.commands.demo.samples import sample_events
from workers.commands.demo.scripted_model import MODEL_NAME as SCRIPTED
from workers.commands.demo.scripts import rejudged_events


class ModelChoice(StrEnum):
    """A value of `--model`."""

    TINY = "tiny"
    SCRIPTED = "scripted"
    BOTH = "both"


class Round(Struct, frozen=True, kw_only=True):
    """A model, by the name under which it is served, and the conversations that it answers."""

    model: str
    events: tuple[ConversationEvent, ...]


def rounds_of(choice: ModelChoice, count: int, seed: int) -> list[Round]:
    """Share `count` samples between the models; the scripted one also gets those that are to be judged again."""
    events = tuple(sample_events(count, seed))
    cut = {ModelChoice.TINY: count, ModelChoice.SCRIPTED: 0, ModelChoice.BOTH: count - count // 2}[choice]
    rounds: list[Round] = []
    if choice is not ModelChoice.SCRIPTED:
        rounds.append(Round(model=TINY, events=events[:cut]))
    if choice is not ModelChoice.TINY:
        rounds.append(Round(model=SCRIPTED, events=(*events[cut:], *rejudged_events(seed))))
    return rounds
