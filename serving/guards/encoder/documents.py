"""Texts without authority, in which the encoder seeks orders: what the user shows, and results of tools."""

from serving.guards.encoder.heads import Kind
from serving.guards.encoder.model import Reading
from serving.guards.encoder.texts import PARAGRAPH, Given
from serving.guards.encoder.thresholds import Thresholds
from serving.text.quotations import STRETCH_CHARACTERS_MIN, Told
from topology.contract.events import ConversationEvent, Message, Role, parts_text

DOCUMENTS_MAX = 4
"""The most documents of a turn that are read one by one; further ones are read with the last of them."""


def turn_of(event: ConversationEvent) -> tuple[Message, ...]:
    """Return the messages of the turn that an event ends with: all since the answer before the last user message."""
    asked = max((at for at, each in enumerate(event.messages) if each.role is Role.USER), default=0)
    answered = (at for at, each in enumerate(event.messages[:asked]) if each.role is Role.ASSISTANT)
    return event.messages[max(answered, default=-1) + 1 :]


def documents_of(event: ConversationEvent, said: Told) -> list[Given]:
    """Return the documents of a turn: what the message shows, as one, and each result of a tool, the latest first.

    What is shown in passing, such as a title in quotation marks, is no document.
    """
    shown = PARAGRAPH.join(text for text in said.shown if len(text) >= STRETCH_CHARACTERS_MIN)
    results = [parts_text(each.parts) for each in reversed(turn_of(event)) if each.role is Role.TOOL]
    texts = [text for text in (shown, *results) if text.strip()]
    last = PARAGRAPH.join(texts[DOCUMENTS_MAX - 1 :])
    return [Given(kind=Kind.DOCUMENT, text=text) for text in (*texts[: DOCUMENTS_MAX - 1], last) if text]


def gives_orders(document: Reading, at: Thresholds) -> bool:
    """Return whether a document holds an order to the assistant: a stretch is one, and the whole text says so too."""
    return bool(document.spans) and document.of("injection") >= at.injection
