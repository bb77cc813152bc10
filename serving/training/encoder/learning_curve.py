"""A learning curve: what a quarter, half and all of our own rows give, per head, language and kind of row.

    python -m serving.training.encoder.learning_curve [--wheels DIR --kept DIR] [--picture FILE]

To train the whole encoder seven times would take hours. So light heads of one linear layer, as the encoder has, are
trained on features that stay as they are: on the words of a text, and with `--wheels` on the states of the base
encoder as it came, all twelve layers. Their figures are below those of the trained encoder: what counts is how much
they still rise. What heads on words get right, a bag of words already solves. Measured on the calibrating authors, so
that the reporting ones decide nothing, not even what is written next. Prints no row's text.
"""

import argparse
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from serving.evaluation.examples import Example, examples_of
from serving.evaluation.rows import ReplyRow, RequestRow, read_rows
from serving.guards.encoder.heads import Kind
from serving.training.diversity import words_of
from serving.training.encoder.frozen_states import kept_states
from serving.training.encoder.light_heads import AT_RISK, CATEGORY, FIGURES, MODE, Figure, Floats, fitted, logits_of

CORPUS = Path(__file__).parents[1] / "corpus"
KINDS = {"requests": Kind.REQUEST, "replies": Kind.REPLY}
"""What the rows of each folder are to the encoder."""
REPORTING = ("d05", "d06", "d07", "d08", "r10", "r11")
CALIBRATING = ("d", "r09")
SHARES = (0.25, 0.5, 1.0)
DRAWS = 3
"""How often a quarter and a half are drawn; their figures are means."""
ROWS_MIN = 20
"""A figure on fewer rows is not shown."""
BUCKETS = 1 << 15

Scores = Mapping[float, Sequence[Floats]]
"""The logits of the measured rows: one array for each draw, by share of the rows."""

Curve = tuple[Sequence[float], Sequence[float]]
"""Numbers of rows, and a figure for each."""


class Rows(NamedTuple):
    """Rows of one folder, one example each; `is_trained` says which ones heads are trained on."""

    langs: NDArray[np.str_]
    kinds: NDArray[np.str_]
    examples: Sequence[Example]
    is_trained: NDArray[np.bool_]

    @property
    def targets(self) -> Floats:
        """Return the targets (rows, TEXT_WIDTH)."""
        return np.stack([each.targets for each in self.examples])


def rows_in(folder: Path) -> Rows:
    """Return the rows of all authors but the reporting ones. A reply is an example with its request before it."""
    paths = [path for path in sorted(folder.glob("*.jsonl")) if path.stem not in REPORTING]
    rows = [row for path in paths for row in read_rows(path) if isinstance(row, RequestRow | ReplyRow)]
    return Rows(
        langs=np.array([row.lang for row in rows]),
        kinds=np.array([row.kind for row in rows]),
        examples=[examples_of([row])[0] for row in rows],
        is_trained=np.array([not row.author.startswith(CALIBRATING) for row in rows]),
    )


def bag_of_words(examples: Sequence[Example]) -> Tensor:
    """Return which words each text has, hashed and of length one: (texts, BUCKETS), sparse."""
    places: list[NDArray[np.int64]] = []
    values: list[Floats] = []
    for number, example in enumerate(examples):
        text = f"{example.given.context} {example.given.text}"
        found = np.unique([zlib.crc32(word.encode()) % BUCKETS for word in words_of(text)]).astype(np.int64)
        places.append(np.stack([np.full_like(found, number), found]))
        values.append(np.full(len(found), 8 * max(1, len(found)) ** -0.5, np.float32))
    at, held = torch.from_numpy(np.concatenate(places, 1)), torch.from_numpy(np.concatenate(values))
    return torch.sparse_coo_tensor(at, held, (len(examples), BUCKETS), check_invariants=True).coalesce()


def standardised(states: Floats, is_trained: NDArray[np.bool_]) -> Tensor:
    """Return the states with the mean and spread of the trained rows taken out."""
    trained = states[is_trained]
    return torch.from_numpy((states - trained.mean(0)) / (trained.std(0) + 1e-6)) * 0.1


def curve(rows: Rows, features: Tensor, say: Callable[[str], None]) -> Scores:
    """Fit the heads to growing shares of the trained rows, and return the logits of the others."""
    targets = torch.from_numpy(rows.targets)
    trained, measured = np.flatnonzero(rows.is_trained), torch.from_numpy(np.flatnonzero(~rows.is_trained))
    found: dict[float, list[Floats]] = {}
    for share in SHARES:
        for draw in range(DRAWS if share < 1 else 1):
            some = np.random.default_rng(draw).permutation(trained)[: round(share * len(trained))]
            chosen = torch.from_numpy(np.sort(some))
            weights = fitted(features.index_select(0, chosen), targets[chosen])
            found.setdefault(share, []).append(logits_of(features.index_select(0, measured), weights))
            say(f"share {share:g}, draw {draw}")
    return found


def value_of(figure: Figure, logits: Sequence[Floats], targets: Floats, chosen: NDArray[np.bool_]) -> tuple[float, int]:
    """Return the mean of a figure over the draws, on the chosen rows, and how many of them count."""
    each = [figure.value(draw[chosen], targets[chosen]) for draw in logits]
    return float(np.mean([value for value, _ in each])), each[0][1]


def lines(figure: Figure, scores: Scores, targets: Floats, parts: Mapping[str, NDArray[np.bool_]]) -> Iterator[str]:
    """Yield a table row for each part of the rows: quarter, half, all, and the gain of the last half."""
    for name, chosen in parts.items():
        shown = [value_of(figure, scores[share], targets, chosen) for share in SHARES]
        (quarter, _), (half, _), (everything, count) = shown
        if count >= ROWS_MIN and not np.isnan(everything):
            yield f"| {name} | {quarter:.3f} | {half:.3f} | {everything:.3f} | {everything - half:+.3f} | {count} |"


def head_line(what: str) -> str:
    """Return the head of a table."""
    return f"| {what} | quarter | half | all | last half | rows |\n|---|---|---|---|---|---|"


def tables(title: str, kind: Kind, rows: Rows, scores: Scores) -> Iterator[str]:
    """Yield the tables of rows of one kind: by head, and for requests by language and by kind of row."""
    measured = ~rows.is_trained
    targets, langs, kinds = rows.targets[measured], rows.langs[measured], rows.kinds[measured]
    yield head_line(title)
    for figure in FIGURES:
        if figure.kind is kind:
            yield from lines(figure, scores, targets, {figure.name: np.ones(len(targets), bool)})
    if kind is not Kind.REQUEST:
        return
    for figure in (MODE, CATEGORY, AT_RISK):
        yield "\n" + head_line(f"{title}, {figure.name}: language")
        yield from lines(figure, scores, targets, {name: langs == name for name in np.unique(langs).tolist()})
    yield "\n" + head_line(f"{title}, {MODE.name}: kind")
    yield from lines(MODE, scores, targets, {name: kinds == name for name in np.unique(kinds).tolist()})


def draw(curves: Mapping[str, Curve], path: Path) -> None:
    """Draw figures by name over numbers of rows. Needs matplotlib."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    plain: Any = {"svg.hashsalt": "sluicegate", "axes.spines.top": False, "axes.spines.right": False, "font.size": 10}
    with mpl.rc_context(plain):
        picture = Picture(figsize=(7.2, 3.6), layout="constrained")
        FigureCanvasAgg(picture)
        axes = picture.subplots()
        for name, (counts, values) in curves.items():
            axes.plot(counts, values, marker="o", markersize=4, label=name, linewidth=1.6)
        axes.set(xlabel="rows that light heads are trained on", ylabel="figure on calibrating authors", xscale="log")
        axes.set_xticks(sorted({count for counts, _ in curves.values() for count in counts}))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter("")
        axes.tick_params(axis="x", labelrotation=30)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
        picture.savefig(path, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, and draw the picture if a file is named for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="folder with the two wheels; none: words only")
    parser.add_argument("--kept", type=Path, help="folder in which the base encoder's states are kept")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--folders", default=",".join(KINDS))
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a thread that waits for another on a busy machine costs more than it saves
    curves: dict[str, Curve] = {}

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    for folder in given.folders.split(","):
        rows = rows_in(given.corpus / folder)
        say(f"{folder}: {rows.is_trained.sum()} rows to train on, {(~rows.is_trained).sum()} to measure on")
        features = {"words": bag_of_words(rows.examples)}
        if given.wheels:
            states = kept_states(rows.examples, given.wheels, given.kept / f"{folder}.npy", say)
            features["states"] = standardised(states, rows.is_trained)
        for name, each in features.items():
            scores = curve(rows, each, say)
            print("\n".join(tables(f"{folder}, {name}", KINDS[folder], rows, scores)), end="\n\n", flush=True)
            curves |= _curves(KINDS[folder], rows, scores)
    if given.picture:
        draw(curves, given.picture)
    return 0


def _curves(kind: Kind, rows: Rows, scores: Scores) -> dict[str, Curve]:
    """Return each figure over the numbers of rows; of several kinds of features the last one is drawn."""
    counts = [share * float(rows.is_trained.sum()) for share in SHARES]
    targets, all_of_them = rows.targets[~rows.is_trained], np.ones((~rows.is_trained).sum(), bool)
    found: dict[str, Curve] = {}
    for figure in FIGURES:
        values = [value_of(figure, scores[share], targets, all_of_them)[0] for share in SHARES]
        if figure.kind is kind and not np.isnan(values).any():
            found[figure.name] = counts, values
    return found


if __name__ == "__main__":
    sys.exit(main())
