"""`sluicegate policy simulate`: show which recorded decisions another policy would change."""

import argparse
import sys
from collections.abc import Iterator, Sequence

import msgspec
from rich.text import Text

from topology.contract.events import Shift
from workers.commands.console.progress import Progress
from workers.commands.console.tables import Cell, say_table
from workers.commands.console.terminal import Terminal, printable
from workers.commands.policy.files import policies_of
from workers.commands.policy.recorded import Unreadable, Window, recorded
from workers.commands.policy.simulation import ACTIONS, HEADINGS, OUTCOMES, Moves, Simulated, Simulation
from workers.commands.policy.simulation_picture import draw, require_drawing
from workers.commands.recovery.selecting import period_of
from workers.settings import Settings

ROWS_MAX = 15
"""The most categories and rules that are shown; `--json` has more of them, and more audit ids."""
EXAMPLES_SHOWN_MAX = 2
BAR_WIDTH = 24
NAME_CHARACTERS_MAX = 80
POLICIES_MAX = 5

LOOSER_STYLE, STRICTER_STYLE = "yellow", "blue"


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Count and print; 1 if there was nothing to count, or a record could not be read. Raises WrongUse."""
    source = arguments.from_audit or settings.topics.audit
    if arguments.picture is not None:
        require_drawing(arguments.picture)
    since_ms, until_ms = period_of(arguments)
    window = Window(since_ms=since_ms, until_ms=until_ms)
    policies = policies_of(settings, "--policy", arguments.policy, arguments.overlays)
    simulation, unreadable = Simulation(policies.bundle, policies.overlays), Unreadable()
    errors = Terminal("stderr")
    progress = Progress(errors.say, "decisions read")
    with recorded(source, settings, window, unreadable, count_max=arguments.limit) as records:
        for record in records:
            simulation.add(record)
            progress.at(simulation.count)
    unreadable.say(errors)
    found = simulation.result()
    _show(arguments, found)
    if not found.decisions:
        errors.say(f"sluicegate policy simulate: no decisions in {source}", "red")
    return 1 if unreadable.count or not found.decisions else 0


def _show(arguments: argparse.Namespace, found: Simulated) -> None:
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        say_simulated(Terminal(), found)
    if arguments.picture is not None:
        draw(found, arguments.picture)
        Terminal("stderr").say(f"picture: {arguments.picture}")


def say_simulated(terminal: Terminal, found: Simulated) -> None:
    """Print sentences, tables and bars."""
    for line in summary(found):
        terminal.say(line)
    if not found.changed:
        return
    headings = ("was", *(HEADINGS.get(outcome, outcome) for outcome in OUTCOMES))
    say_table(terminal, headings, matrix(found), title="actions: before (rows) and after (columns)")
    say_table(
        terminal,
        ("category", "stricter", "", "", "looser", "ceilings", "drafts"),
        bars(found.categories[:ROWS_MAX]),
        title="categories: decisions that move, and in what",
    )
    rules = [(rule.before, rule.after, rule.count) for rule in found.rules[:ROWS_MAX]]
    say_table(terminal, ("rule before", "rule after", "drafts"), rules, title="rules that decide on a draft")
    say_table(terminal, ("was", "would be", "audit ids"), examples(found), title="examples")


def summary(found: Simulated) -> Iterator[Text]:
    """Yield sentences on how much changes, and on which records."""
    share = f" ({found.changed / found.decisions:.2%})" if found.decisions else ""
    yield Text(f"{found.decisions} decisions, under {printable(found.policy_ref, NAME_CHARACTERS_MAX)}")
    line = Text(f"{found.changed} would change{share}: ", style="bold")
    line.append(f"{found.shifts[Shift.LOOSER]} looser", style=LOOSER_STYLE)
    line.append(", ")
    line.append(f"{found.shifts[Shift.STRICTER]} stricter", style=STRICTER_STYLE)
    yield line.append(f", {found.shifts[Shift.OTHER]} otherwise")
    yield Text(f"{found.acted} would, or might, end in another action; the drafts are those that were recorded")
    named = list(found.policies.items())
    for ref, count in named[:POLICIES_MAX]:
        yield Text(f"  {count} were decided under {printable(ref, NAME_CHARACTERS_MAX)}", style="dim")
    if len(named) > POLICIES_MAX:
        yield Text(f"  and others under {len(named) - POLICIES_MAX} more policies", style="dim")
    if found.other_overlays:
        yield Text(
            f"note: {found.other_overlays} were made under another overlay than their tenant has here (--overlays)",
            style="yellow",
        )


def matrix(found: Simulated) -> Iterator[Sequence[Cell]]:
    """Yield a row for each recorded action, with a column for each action under the new policy."""
    counts = {(cell.before, cell.after): cell.count for cell in found.changes}
    for before in ACTIONS:
        row = [counts.get((before, after), 0) for after in OUTCOMES]
        if any(row):
            cells = [_cell(count, is_same=before == after) for count, after in zip(row, OUTCOMES, strict=True)]
            yield before, *cells


def bars(categories: Sequence[Moves]) -> Iterator[Sequence[Cell]]:
    """Yield a row for each category: bars to the left for stricter decisions, to the right for looser ones."""
    longest = max((max(each.looser, each.stricter) for each in categories), default=0) or 1
    for each in categories:
        left, right = _bar(each.stricter, longest), _bar(each.looser, longest)
        yield (
            each.category,
            each.stricter,
            Text(left.rjust(BAR_WIDTH), style=STRICTER_STYLE),
            Text(right.ljust(BAR_WIDTH), style=LOOSER_STYLE),
            each.looser,
            Text(f"+{each.ceilings_raised} -{each.ceilings_lowered}", style="dim"),
            Text(f"+{each.drafts_looser} -{each.drafts_stricter}", style="dim"),
        )


def examples(found: Simulated) -> Iterator[Sequence[Cell]]:
    """Yield audit ids of each change of action; last, of decisions that change only in plan or ceilings."""
    for cell in found.changes:
        if cell.examples:
            yield cell.before, HEADINGS.get(cell.after, cell.after), _ids(cell.examples)
    if found.planned:
        yield "any", "the same action", _ids(found.planned)


def _ids(ids: Sequence[str]) -> str:
    return printable(" ".join(ids[:EXAMPLES_SHOWN_MAX]), NAME_CHARACTERS_MAX)


def _cell(count: int, *, is_same: bool) -> Text:
    return Text(str(count) if count else ".", justify="right", style="dim" if is_same or not count else "bold")


def _bar(count: int, longest: int) -> str:
    """Return a bar with at least one mark for any count, so that a few do not look like none."""
    return "#" * (max(1, round(count / longest * BAR_WIDTH)) if count else 0)
