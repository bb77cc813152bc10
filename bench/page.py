"""The page docs/bench.md: a fixed text, and below it the figures of each part's last whole run."""

import re
from collections.abc import Sequence
from pathlib import Path

from bench.report import Report, table

PAGE = Path("docs/bench.md")
IMAGES = Path("docs/images")
MARK = "<!-- figures: written by `make bench`, everything below this line -->"

_HEADING = re.compile(r"^## Part (\w)$", re.MULTILINE)


def write(report: Report, parts: Sequence[str], page: Path = PAGE) -> None:
    """Replace the figures of `parts`, and keep those of the others."""
    above, _, below = page.read_text(encoding="utf-8").partition(MARK)
    sections = {**sections_of(below), **{part: section(report, part) for part in parts}}
    shown = [f"## Part {part}\n\n{sections[part]}\n" for part in sorted(sections)]
    page.write_text("\n".join([above + MARK + "\n", *shown]), encoding="utf-8")


def sections_of(text: str) -> dict[str, str]:
    """Return the text below the heading of each part."""
    _, *found = _HEADING.split(text)
    return {part: body.strip() for part, body in zip(found[::2], found[1::2], strict=True)}


def section(report: Report, part: str) -> str:
    """Return the figures of one part, below the command, the date, the machine and the versions."""
    named = [*report.machine.items(), *report.versions.items()]
    facts = "; ".join(f"{name} {value}" for name, value in named)
    figures = [figure for figure in report.figures if figure.part == part]
    return f"`{report.command}` on {report.date}: {facts}.\n\n{table(figures)}"
