"""The text of a request."""

from topology.contract.events import ConversationEvent, Role, parts_text


def request_text(event: ConversationEvent) -> str:
    """Return the text of the last user message; empty if the conversation has none."""
    for message in reversed(event.messages):
        if message.role is Role.USER:
            return parts_text(message.parts)
    return ""
