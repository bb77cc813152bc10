"""An audited response as one line for people."""

from rich.text import Text

from topology.contract.events import Action, AuditedResponse, parts_text
from workers.commands.console.terminal import printable

TEXT_CHARACTERS_MAX = 160
ID_CHARACTERS_MAX = 20
EVENT_CHARACTERS_MAX = 128
"""A whole event id, so that it can be given to `policy explain`."""

CODES_CHARACTERS_MAX = 24

STYLES = {
    Action.PUBLISHED: "green",
    Action.REDACTED: "cyan",
    Action.SAFE_COMPLETED: "yellow",
    Action.REFUSED: "magenta",
    Action.WITHHELD: "red",
    Action.REJECTED: "bright_red",
}


def line_of(response: AuditedResponse) -> Text:
    """Return one response as a coloured line: action, mode, conversation, event, reason codes, and its text."""
    line = Text()
    line.append(f"{response.action.value:<14}", style=STYLES[response.action])
    line.append(f" {response.mode.value:<18}", style="dim")
    line.append(f" {printable(response.conversation_id, ID_CHARACTERS_MAX):<{ID_CHARACTERS_MAX}}")
    line.append(f" {printable(response.event_id, EVENT_CHARACTERS_MAX)}", style="dim")
    codes = printable(",".join(response.reason_codes), CODES_CHARACTERS_MAX)
    line.append(f" {codes:<12} ", style="dim")
    line.append(printable(parts_text(response.parts), TEXT_CHARACTERS_MAX))
    return line
