"""Events of the Ray form: everyday questions, most of them already answered upstream, the rest for the model."""

import zlib
from collections.abc import Callable

from topology.contract.events import (
    Candidate,
    ConversationEvent,
    GenerationParameters,
    Message,
    Role,
    TextPart,
    UserContext,
)

CONVERSATIONS = 36
"""Few, so that each has many turns and key order is put to the test."""

GENERATED_EVERY = 4
"""Every fourth conversation asks the model. The others bring an answer, so that they go on while it is away."""

ANSWER_TOKENS = 12

TURNS = (
    ("How often should I water basil on a windowsill?", "When the top of the soil feels dry, about every two days."),
    ("Why does my sourdough stay flat?", "The starter may be young; feed it twice a day for a week and try again."),
    ("What is a good first chess opening to learn?", "The Italian game: it brings pieces out fast and stays simple."),
    ("How do tides work?", "The moon's pull raises the sea on two sides, and the earth turns below that."),
    ("Which way do I turn a pedal to loosen it?", "The left pedal turns clockwise, the right one the other way."),
    ("How long do I boil an egg for a soft yolk?", "Six minutes from boiling water, then cold water at once."),
    ("What should I pack for a rainy weekend walk?", "A shell, dry socks, a flask of tea and a map in a clear bag."),
    ("How do I stop a wooden door from squeaking?", "Lift each pin of the hinges, wipe it, and put on a little wax."),
)


def everyday_events(*, asks_model: bool) -> Callable[[str, str], ConversationEvent]:
    """What makes an event of its id and its conversation's, which ends in its number."""

    def make(event_id: str, conversation_id: str) -> ConversationEvent:
        question, answer = TURNS[zlib.crc32(event_id.encode()) % len(TURNS)]
        is_generated = asks_model and int(conversation_id.lstrip("c")) % GENERATED_EVERY == 0
        return ConversationEvent(
            event_id=event_id,
            conversation_id=conversation_id,
            tenant_id="chaos",
            messages=(Message(role=Role.USER, parts=(TextPart(text=question),)),),
            candidate=None if is_generated else Candidate(parts=(TextPart(text=answer),), model="upstream"),
            user=UserContext(subject=f"subject-{conversation_id}", locale="en", region="GB"),
            generation=GenerationParameters(max_tokens=ANSWER_TOKENS, temperature=0.7),
        )

    return make
