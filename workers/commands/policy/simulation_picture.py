"""A simulation as a picture: actions before and after, and the changes of each category. Needs matplotlib."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workers.commands.console.usage_error import WrongUse
from workers.commands.policy.simulation import ACTIONS, HEADINGS, OUTCOMES, UNKNOWN, Simulated

LOOSER, STRICTER, SAME, UNSURE = "#e08a1e", "#1f5a99", "#eeeeee", "#8a8a8a"
CATEGORIES_MAX = 20
SUFFIXES = (".png", ".svg", ".pdf")


def require_drawing(path: Path) -> None:
    """Raise WrongUse if `path` cannot become a picture, before decisions are read for minutes."""
    if path.suffix not in SUFFIXES:
        raise WrongUse("--picture", str(path), f"must end in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise WrongUse("--picture", str(path), "no such directory")
    if find_spec("matplotlib") is None:
        raise WrongUse(
            "--picture", str(path), "needs matplotlib: `pip install matplotlib`; the terminal shows bars too"
        )


def draw(found: Simulated, path: Path) -> None:
    """Write the picture to `path`. Raises OSError."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.titlesize": 10, "svg.hashsalt": "sluicegate"}):
        shown = found.categories[:CATEGORIES_MAX]
        figure = Figure(figsize=(8.0, 4.2 + 0.28 * max(2, len(shown))), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, height_ratios=(3.2, 0.6 + 0.28 * max(2, len(shown))))
        figure.suptitle(
            f"{found.decisions:,} recorded decisions under {found.policy_ref}\n"
            f"{found.changed:,} change, {found.acted:,} end, or may end, in another action",
            fontsize=10,
        )
        _draw_matrix(above, found)
        _draw_categories(below, found)
        figure.savefig(path, dpi=120)


def _draw_matrix(axes: Any, found: Simulated) -> None:
    """Draw the counts; a cell is as dark as its share of the row, and coloured by the direction of the change."""
    counts = {(cell.before, cell.after): cell.count for cell in found.changes}
    for row, before in enumerate(ACTIONS):
        total = sum(counts.get((before, after), 0) for after in OUTCOMES) or 1
        for column, after in enumerate(OUTCOMES):
            count = counts.get((before, after), 0)
            if count:
                strength = 1.0 if before == after else 0.25 + 0.75 * count / total
                axes.add_patch(_cell(column, row, _colour(row, column), strength))
                axes.text(column, row, f"{count:,}", ha="center", va="center")
    axes.set_xticks(range(len(OUTCOMES)), [HEADINGS.get(outcome, outcome) for outcome in OUTCOMES])
    axes.set_yticks(range(len(ACTIONS)), ACTIONS)
    axes.set(xlim=(-0.5, len(OUTCOMES) - 0.5), ylim=(len(ACTIONS) - 0.5, -0.5))
    axes.set_title(
        "actions before (rows) and after (columns); blue: less is published, orange: more, grey: unknown", loc="left"
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _colour(row: int, column: int) -> str:
    """Return the colour: actions are ordered by how much is published, and one more draft has an unknown end."""
    if OUTCOMES[column] == UNKNOWN:
        return UNSURE
    return SAME if column == row else LOOSER if column < row else STRICTER


def _cell(column: int, row: int, colour: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, alpha=alpha)


def _draw_categories(axes: Any, found: Simulated) -> None:
    shown = found.categories[:CATEGORIES_MAX]
    names = [each.category for each in shown]
    stricter = axes.barh(names, [-each.stricter for each in shown], color=STRICTER)
    looser = axes.barh(names, [each.looser for each in shown], color=LOOSER)
    axes.bar_label(stricter, [f"{each.stricter:,}" if each.stricter else "" for each in shown], padding=3)
    axes.bar_label(looser, [f"{each.looser:,}" if each.looser else "" for each in shown], padding=3)
    widest = max((max(each.stricter, each.looser) for each in shown), default=1)
    axes.set_xlim(-1.2 * widest, 1.2 * widest)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_title("decisions that get stricter (left) or looser (right), by category", loc="left")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
