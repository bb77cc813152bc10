"""A steady load for the Ray form: long conversations, some answered upstream, some by the model."""

import itertools
import random
import time
from typing import Any

from topology.events import Candidate, ConversationEvent, GenerationParameters, Message, Role, TextPart, UserContext
from workers.census import Sent
from workers.sender import EventSender, position_of
from workers.settings import Settings

CONVERSATIONS = 36
GENERATED_EVERY = 3
"""Every third conversation asks the model. The others bring an answer, so that they go on while it is away."""

ANSWER_TOKENS = 12

TURNS = (
    ("How often should I water basil on a windowsill?", "When the top of the soil feels dry, about every two days."),
    ("Why does my sourdough stay flat?", "The starter may be young; feed it twice a day for a week and try again."),
    ("What is a good first chess opening to learn?", "The Italian game: it brings pieces out fast and stays simple."),
    ("How do tides work?", "The moon's pull raises the sea on two sides, and the earth turns below that."),
    (
        "Which way do I turn a bicycle pedal to loosen it?",
        "The left pedal turns clockwise, the right one the other way.",
    ),
    ("How long do I boil an egg for a soft yolk?", "Six minutes from boiling water, then cold water at once."),
    ("What should I pack for a rainy weekend walk?", "A shell, dry socks, a flask of tea and a map in a clear bag."),
    ("How do I stop a wooden door from squeaking?", "Lift each pin of the hinges, wipe it, and put on a little wax."),
)


def turn(conversation: str, number: int, draw: random.Random, *, asks_model: bool) -> ConversationEvent:
    """The event of one user turn; its id is `<conversation>-<number>`."""
    question, answer = draw.choice(TURNS)
    return ConversationEvent(
        event_id=f"{conversation}-{number}",
        conversation_id=conversation,
        tenant_id="chaos",
        messages=(Message(role=Role.USER, parts=(TextPart(text=question),)),),
        candidate=None if asks_model else Candidate(parts=(TextPart(text=answer),), model="upstream"),
        user=UserContext(subject=f"subject-{conversation}", locale="en", region="GB"),
        generation=GenerationParameters(max_tokens=ANSWER_TOKENS, temperature=0.7),
    )


class Load:
    """Sends `rate` events a second for as long as `tick` is called. All calls on one thread."""

    def __init__(self, settings: Settings, rate: float, seed: int, *, asks_model: bool) -> None:
        self._asks_model = asks_model
        self._sender = EventSender(settings.kafka, settings.topics.events)
        self._draw = random.Random(seed)
        self._rate = rate
        self._turns = [itertools.count(1) for _ in range(CONVERSATIONS)]
        self._began_s = time.monotonic()
        self._waiting: list[tuple[str, Any]] = []

    @property
    def sent_count(self) -> int:
        """Events handed to the producer so far."""
        return len(self._waiting)

    def tick(self) -> None:
        """Send what is due by now."""
        while self.sent_count < (time.monotonic() - self._began_s) * self._rate:
            index = self._draw.randrange(CONVERSATIONS)
            asks_model = self._asks_model and index % GENERATED_EVERY == 0
            event = turn(f"c{index}", next(self._turns[index]), self._draw, asks_model=asks_model)
            self._waiting.append((event.event_id, self._sender.send_event(event)))

    def finish(self) -> list[Sent]:
        """Every event with the place that the broker acknowledged."""
        self._sender.flush()
        sent: list[Sent] = []
        for event_id, future in self._waiting:
            topic, partition, offset = position_of(future)
            sent.append(Sent(name=event_id, topic=topic, partition=partition, offset=offset, event_id=event_id))
        return sent

    def close(self) -> None:
        """Release the connections."""
        self._sender.close()
