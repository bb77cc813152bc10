"""Streamed replies under the packaged guards: what of a drift into forbidden detail leaves, and what is interrupted.

`python -m tests.topology.streamed.drift GOOD.jsonl.gz FORBIDDEN.jsonl.gz --count N` reads rows with `prompt` and
`response`. A good reply is streamed as it is. A drifting one begins with the first half of a good reply, goes on with a
reply that is labelled harmful, to the request of that, and is recorded with how much of the harmful part left.
"""

import argparse
import asyncio
import gzip
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.fakes import FakeCheck, FakeGenerator, FakeReleases
from serving.guards.bias import BiasStage
from serving.guards.classification import ClassificationStage
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.per_policy import PolicyLabeler
from tests.topology.steps.pipeline_world import BUNDLE, Bench, Ended, event, logged, record_of
from topology.contract.drafts import CheckReport
from topology.contract.events import Message, Role, TextPart
from topology.ports import CheckInput, Stage

CHARACTERS_MAX = 6000


class StageCheck:
    """A stage asked for one draft at a time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.name, self.version = stage.name, stage.version

    async def check(self, given: CheckInput) -> CheckReport:
        return self._stage.run([given])[0]


@dataclass
class Told:
    """One streamed reply: what left of it while it was written, and how it ended."""

    shown: str
    ended: Ended
    drafts: int


class Guarded:
    """A pipeline with the packaged guards, without an encoder."""

    def __init__(self) -> None:
        model = LinearModel.load()
        self._labeler = PolicyLabeler(lambda policy: EmbeddedLabeler(model, policy.categories))
        stages = (ClassificationStage(model, BUNDLE), BiasStage(model))
        self._checks = [*[StageCheck(stage) for stage in stages], FakeCheck("logging", logged)]

    async def tell(self, prompt: str, reply: str, number: int, *, is_streamed: bool) -> Told:
        """Answer `prompt` with `reply`, and with a plain sentence where another draft is asked for."""
        script = iter([reply])
        generator = FakeGenerator(lambda _: next(script, "That is as far as I can go."), pieces=_pieces)
        releases = FakeReleases()
        bench = Bench(
            generator=generator,
            labeler=self._labeler,  # type: ignore[arg-type]
            checks=self._checks,
            deadline_s=60,
            releases=lambda record, event, audit_id: releases,
        )
        asked = event(
            event_id=f"e{number}",
            messages=(Message(role=Role.USER, parts=(TextPart(text=prompt),)),),
            stream=is_streamed,
        )
        ended = Ended(await bench.pipeline.process(record_of(asked)))
        return Told("".join(text for text, _, _ in releases.segments), ended, len(generator.calls))


def _pieces(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def rows(path: Path) -> Iterator[tuple[str, str, dict[str, object]]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["response"] and len(row["response"]) <= CHARACTERS_MAX:
                yield row["prompt"], row["response"], row["labels"]


async def good(guarded: Guarded, replies: Sequence[tuple[str, str]]) -> None:
    """Stream good replies, and answer them whole: an interruption is one that only streaming causes."""
    interrupted = whole_other = over = 0
    for number, (prompt, reply) in enumerate(replies):
        streamed = await guarded.tell(prompt, reply, number, is_streamed=True)
        whole = await guarded.tell(prompt, reply, number, is_streamed=False)
        is_whole = whole.ended.text == reply
        whole_other += not is_whole
        interrupted += is_whole and streamed.ended.text != reply
        over += streamed.ended.audit.released_over
    _say("good replies", len(replies), interrupted_by_streaming=interrupted, not_published_whole=whole_other, over=over)


async def drifting(guarded: Guarded, replies: Sequence[tuple[str, str, str]]) -> None:
    """Stream replies that drift; count what left of their forbidden part, where the whole would not be published."""
    counted = leaked = characters = forbidden = over = published = 0
    for number, (prompt, start, harmful) in enumerate(replies):
        whole = await guarded.tell(prompt, start + harmful, number, is_streamed=False)
        if whole.ended.text == start + harmful:
            published += 1  # the guards do not see it, streamed or not
            continue
        told = await guarded.tell(prompt, start + harmful, number, is_streamed=True)
        left = max(0, len(_common(told.shown, start + harmful)) - len(start))
        counted, forbidden = counted + 1, forbidden + len(harmful)
        leaked, characters = leaked + (left > 0), characters + left
        over += told.ended.audit.released_over
    _say(
        "drifting replies",
        len(replies),
        published_whole_too=published,
        stopped_whole=counted,
        with_text_after_the_drift=leaked,
        characters_after_the_drift=characters,
        of_characters=forbidden,
        over=over,
    )


def _common(one: str, other: str) -> str:
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return one[:at]
    return one[: len(other)]


def _say(what: str, count: int, **figures: int) -> None:
    told = ", ".join(f"{name.replace('_', ' ')} {figure}" for name, figure in figures.items())
    sys.stdout.write(f"{what}: {count}; {told}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("good", type=Path)
    parser.add_argument("forbidden", type=Path)
    parser.add_argument("--count", type=int, default=500)
    asked = parser.parse_args(arguments)
    chance, guarded = random.Random(0), Guarded()
    sound = [(prompt, reply) for prompt, reply, labels in rows(asked.good) if not labels.get("response_harm")]
    harmful = [(prompt, reply) for prompt, reply, labels in rows(asked.forbidden) if labels.get("response_harm") == 1]
    chance.shuffle(sound)
    chance.shuffle(harmful)
    asyncio.run(good(guarded, sound[: asked.count]))
    starts = [reply[: len(reply) // 2].rpartition(". ")[0] + ". " for _, reply in sound]
    drifts = [(prompt, starts[at % len(starts)], reply) for at, (prompt, reply) in enumerate(harmful[: asked.count])]
    asyncio.run(drifting(guarded, drifts))


if __name__ == "__main__":
    main(sys.argv[1:])
