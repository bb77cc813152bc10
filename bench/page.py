"""The page docs/bench.md: a fixed text around the figures of the last whole run."""

from pathlib import Path

from bench.report import Report, table

PAGE = Path("docs/bench.md")
MARK = "<!-- figures: written by `make bench`, everything below this line -->"


def write(report: Report) -> None:
    """Replace what stands below the mark."""
    above = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(above + MARK + "\n\n" + figures(report), encoding="utf-8")


def figures(report: Report) -> str:
    """Command, date, machine, versions and the table."""
    named = [*report.machine.items(), *report.versions.items()]
    facts = "\n".join(f"* {name}: {value}" for name, value in named)
    return f"`{report.command}` on {report.date}\n\n{facts}\n\n{table(report.figures)}\n"
