"""The rounds of the demo: one model after the other answers its share of the conversations."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from topology.contract.events import ConversationEvent
from workers.commands.demo.samples import sample_events
from workers.commands.demo.story.examples import Example, examples

SMALL_COUNT_MAX = 40
"""The most conversations of a model that vLLM runs on the CPU: it writes some 30 tokens a second there."""


class Model(StrEnum):
    """A model of the demo, by the name that `--model` and the workers use."""

    SCRIPTED = "scripted"
    SMALL = "smollm2"
    TINY = "sluicegate-tiny"

    @property
    def is_vllm(self) -> bool:
        """Return whether vLLM serves it."""
        return self is not Model.SCRIPTED


CHOICES = {
    "scripted": (Model.SCRIPTED,),
    "small": (Model.SMALL,),
    "both": (Model.SCRIPTED, Model.SMALL),
    "tiny": (Model.TINY,),
    "scripted-tiny": (Model.SCRIPTED, Model.TINY),
}
"""The values of `--model`. The tiny checkpoint writes noise: it is there for tests."""


class Round(Struct, frozen=True, kw_only=True):
    """A model and the conversations that it answers; first the pinned examples, which only the scripted model gets."""

    model: Model
    events: tuple[ConversationEvent, ...]
    examples: tuple[Example, ...] = ()


def rounds_of(choice: str, count: int, seed: int) -> list[Round]:
    """Share `count` samples between the models of a choice."""
    models = CHOICES[choice]
    events = tuple(sample_events(count, seed))
    cut = _share_of_first(models, count)
    shares = (events,) if len(models) == 1 else (events[:cut], events[cut:])
    return [_round(model, share) for model, share in zip(models, shares, strict=True)]


def _share_of_first(models: Sequence[Model], count: int) -> int:
    second = count // 2
    return count - (min(second, SMALL_COUNT_MAX) if models[-1].is_vllm else second)


def _round(model: Model, events: tuple[ConversationEvent, ...]) -> Round:
    return Round(model=model, events=events, examples=examples() if model is Model.SCRIPTED else ())
