"""Tables that a terminal, a pipe and `grep` can read: as wide as their content, one line per row."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from workers.commands.console.terminal import Terminal

Cell = str | int | Text

WIDTH_MAX = 1000


def say_table(terminal: Terminal, headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, title: str = "") -> None:
    """Print `rows` under `headings`, with numbers aligned to the right. Without rows nothing is printed."""
    kept = list(rows)
    if not kept:
        return
    if title:
        terminal.say("")
        terminal.say(title, "bold")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for heading, cell in zip(headings, kept[0], strict=True):
        is_number = isinstance(cell, int) or (isinstance(cell, Text) and cell.justify == "right")
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=True)
    for row in kept:
        table.add_row(*(each if isinstance(each, Text) else Text(str(each)) for each in row))
    table.width = Measurement.get(terminal, terminal.options.update(max_width=WIDTH_MAX), table).maximum
    terminal.print(table, width=table.width, crop=False)
