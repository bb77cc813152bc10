"""`sluicegate policy diff`: show how two policies differ, and whether the version rises by enough."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec
from rich.text import Text

from topology.contract.labels import Context, Level
from workers.commands.console.tables import Cell, say_table
from workers.commands.console.terminal import Terminal, printable
from workers.commands.policy.ceiling_space import AGES, INTENTS, NO_GRANT, CeilingChange
from workers.commands.policy.comparing import Change, Compared, Kind, Step, compared
from workers.commands.policy.files import bundle_of
from workers.settings import Settings

STYLES = {
    Kind.LOOSER: "yellow",
    Kind.STRICTER: "blue",
    Kind.ADDED: "green",
    Kind.OTHER: "magenta",
    Kind.WORDING: "dim",
}
WORDS_CHARACTERS_MAX = 60

T = TypeVar("T")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Compare and print; with --exit-code 1 if anything differs. Raises WrongUse."""
    old, new = (bundle_of(settings, option, getattr(arguments, option.lower())) for option in ("OLD", "NEW"))
    found = compared(old, new)
    if arguments.json:
        shown = {**msgspec.to_builtins(found), "is_version_fit": found.is_version_fit}
        sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
    else:
        say_compared(Terminal(), found)
    return 1 if arguments.exit_code and found.is_different else 0


def say_compared(terminal: Terminal, found: Compared) -> None:
    """Print the differences, most important first, and what they mean for the version."""
    terminal.say(f"{found.old_ref} -> {found.new_ref}")
    if not found.is_different:
        terminal.say("the policies are the same", "green")
        return
    say_table(
        terminal,
        ("", "category", "harm", "intent", "age", "context", "grant", "ceiling"),
        [_ceiling(change) for change in sorted(found.ceilings, key=lambda change: not change.is_looser)],
        title="ceilings",
    )
    order = list(Kind)
    changes = sorted(found.changes, key=lambda change: (order.index(change.kind), change.path))
    say_table(terminal, ("", "where", "was", "is"), [_change(change) for change in changes], title="everything else")
    terminal.say("")
    terminal.say(version_line(found))


def version_line(found: Compared) -> Text:
    """Say by how much the version has to rise, and by how much it does."""
    old, new = (ref.partition("@")[2].partition("#")[0] for ref in (found.old_ref, found.new_ref))
    stated = "falls" if found.stated is None else "stays" if found.stated is Step.NONE else f"rises by a {found.stated}"
    words = f"this is a {found.needed} change; the version {stated}: {old} -> {new}"
    return Text(
        words if found.is_version_fit else f"{words}, which is not enough", "green" if found.is_version_fit else "red"
    )


def _ceiling(change: CeilingChange) -> Sequence[Cell]:
    kind = Kind.LOOSER if change.is_looser else Kind.STRICTER
    return (
        Text(kind.value, style=STYLES[kind]),
        change.category,
        " ".join(_harms(change.harms)),
        _listed(change.intents, INTENTS),
        _listed(change.ages, AGES),
        _listed(change.contexts, tuple(Context)),
        "none" if change.grants == (NO_GRANT,) else " ".join(change.grants),
        Text(f"D{change.before} -> D{change.after}", style=STYLES[kind]),
    )


def _change(change: Change) -> Sequence[Cell]:
    was, now = (printable(words, WORDS_CHARACTERS_MAX) for words in (change.before, change.after))
    return (
        Text(change.kind.value, style=STYLES[change.kind]),
        printable(change.path, 2 * WORDS_CHARACTERS_MAX),
        was,
        now,
    )


def _harms(levels: Sequence[Level]) -> Iterator[str]:
    return (f"H{level}" for level in levels)


def _listed(found: Sequence[T], known: Sequence[T]) -> str:
    """Return names in few words: `any`, `any but …` if fewer are missing than found, else all of them."""
    missing = [each for each in known if each not in found]
    if not missing:
        return "any"
    if len(missing) < len(found) and len(known) > len(AGES):
        return f"any but {' '.join(map(str, missing))}"
    return " ".join(map(str, found))
