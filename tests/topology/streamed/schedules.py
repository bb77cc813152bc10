# ruff: noqa: RUF001 - marks of many scripts
"""Random schedules of one streamed event: any text, cut anywhere; checks late, failing, out of order; crashes.

`python -m tests.topology.streamed.schedules --count N --first SEED` runs many, and prints what came of them. One seed
is one schedule, the same on every machine.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from serving.fakes import FakeGenerator, FakeReleases
from tests.topology.steps.pipeline_world import Ended, event, logged, record_of
from tests.topology.streamed.stream_world import LINE, REFUSAL, Streamed, is_bare_refusal, is_clean, read, weighed
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.errors import CheckFailed, Replaced, RetryLater
from topology.contract.events import Action
from topology.contract.labels import Outcome
from topology.contract.names import DraftSource
from topology.decision.judge import REDACTION_MARK
from topology.ports import CheckInput, OnText
from topology.streamed.answering import StreamBounds
from topology.streaming.holdback import HoldBounds
from topology.streaming.segments import SegmentBounds

GOOD = (
    *("This is fine. ", "Here is more, with words. ", "In 1969 it began. ", "- an item\n", "1. first\n", "Is it? "),
    *(
        "```\ncode = 1\n```\n",
        "好的。很好！",
        "هذا جيد. ",
        "A long sentence without any end that goes on and on over bounds ",
    ),
    *("It costs 3.50 euros, e.g. at Dr. Smith's. ", "\n\n", f"Call the {LINE}. ", f"{REFUSAL} "),
)
BAD = (
    *("Then FAR it goes. ", "Take ONE more. ", "WORST of all. ", "UNFAIR to some. ", "Call 0301 23 45 67 now. "),
    *("many words that lead on to the number 030 12 34 56 78 90 of a person and more ", "FAR. ", "0301-2345-67\n"),
)
OTHERS_TEXT = " Another run says this."
SECRETS_BEGINNING = "030"
RUNS_MAX = 6
ERRORS = (TimeoutError(), CheckFailed(Outcome.UNREACHABLE, "check", "away"), ValueError("bug"))


class Broken(AssertionError):
    """What must hold does not. `args` is (what, seed)."""


@dataclass
class Schedule:
    """What one seed decides, and what was seen."""

    seed: int
    log: str = ""
    """The stream as its readers have it."""
    has_last: bool = False
    broken: list[str] = field(default_factory=list[str])
    """What did not hold, in order."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        share = self.random.choice((0.0, 0.1, 0.3))
        self.fault_share = self.random.choice((0.0, 0.0, 0.03, 0.1))
        self.script = [self._text(share) for _ in range(40)]
        self.lengths = self.random.choice(((1, 3, 7), (1, 7, 30, 200)))
        age_max_ms = self.random.choice((-1.0, 1e9))
        self.streams = StreamBounds(
            segments=SegmentBounds(characters_max=60, fence_characters_max=80, age_max_ms=age_max_ms),
            hold=HoldBounds(opening_characters=60, context_characters=self.random.choice((40, 120, 2000))),
        )

    def _text(self, share: float) -> str:
        count = self.random.randrange(1, 14)
        return "".join(self.random.choice(BAD if self.random.random() < share else GOOD) for _ in range(count))

    def pieces(self, text: str) -> Iterator[str]:
        at = 0
        while at < len(text):
            length = self.random.choice(self.lengths)
            yield text[at : at + length]
            at += length

    async def idle(self) -> None:
        for _ in range(self.random.choice((0, 0, 1, 3, 12))):
            await asyncio.sleep(0)


class LateCheck:
    """A check that takes its time, and sometimes fails."""

    version = "1"

    def __init__(
        self, name: str, report: Callable[[CheckInput], CheckReport], schedule: Schedule, seen: "Seen"
    ) -> None:
        self.name = name
        self._report, self._schedule, self._seen = report, schedule, seen

    async def check(self, given: CheckInput) -> CheckReport:
        await self._schedule.idle()
        if self._schedule.random.random() < self._schedule.fault_share:
            raise self._schedule.random.choice(ERRORS)
        report = self._report(given)
        self._seen.passed(self.name, given.draft.text)
        return report


class Seen:
    """Which texts every check has told of."""

    def __init__(self) -> None:
        self._by: dict[str, set[str]] = {}

    def passed(self, name: str, text: str) -> None:
        self._by.setdefault(text, set()).add(name)

    def may_leave(self, before: str, text: str) -> bool:
        """Return whether some text that all checks passed, and that has no fault, holds this piece in its place."""
        return any(
            len(names) == 3 and is_clean(known) and _has_in_place(known, before, text)
            for known, names in self._by.items()
        )


def _has_in_place(known: str, before: str, text: str) -> bool:
    """Return whether `known` is an end of `before`, or all of it, and then begins with `text`."""
    return any(
        known.startswith(text, at) and (before.endswith(known[:at]))
        for at in range(len(known) - len(text) + 1)
        if known.startswith(text, at)
    )


class LoggedReleases(FakeReleases):
    """The releases of one run over the schedule's log."""

    def __init__(self, schedule: Schedule, seen: Seen) -> None:
        super().__init__(schedule.log, has_last=schedule.has_last, on_open=schedule.idle)
        self._schedule, self._seen = schedule, seen
        self.is_replaced = schedule.random.random() < 0.03

    async def release(self, text: str, source: DraftSource, *, is_last: bool) -> None:
        schedule = self._schedule
        if source is not DraftSource.TEMPLATE and text and not self._seen.may_leave(self.sent, text):
            schedule.broken.append(f"released unjudged: {text!r} after {self.sent!r}")
        await schedule.idle()
        if self.is_replaced:
            schedule.log += OTHERS_TEXT
            raise Replaced("another run")
        await super().release(text, source, is_last=is_last)
        schedule.log, schedule.has_last = self.sent, schedule.has_last or is_last
        await schedule.idle()


class Model(FakeGenerator):
    """A model that sometimes breaks off."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(self._say, pieces=schedule.pieces)
        self._schedule = schedule
        self._is_slow = schedule.random.random() < 0.5

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        async def slowly(text: str) -> None:
            assert on_text is not None
            await on_text(text)
            for _ in range(self._schedule.random.choice((0, 10, 40)) if self._is_slow else 0):
                await asyncio.sleep(0)

        return await super().generate(request, slowly)

    def _say(self, _request: GenerationRequest) -> str:
        if self._schedule.random.random() < 0.05:
            raise RetryLater(Outcome.CRASHED, "generator", "gone")
        if self._schedule.random.random() < 0.02:
            raise CheckFailed(Outcome.REFUSED, "generator", "too long")
        return self._schedule.script.pop()


async def run(schedule: Schedule) -> Ended:
    """Run the event until a run ends it; each run before crashes somewhere."""
    for index in range(RUNS_MAX):
        seen, chance = Seen(), schedule.random
        checks = [
            LateCheck(*each, schedule, seen)
            for each in (("classification", read), ("bias", weighed), ("logging", logged))
        ]
        releases = LoggedReleases(schedule, seen)
        world = Streamed([], releases=releases, streams=schedule.streams, generator=Model(schedule), checks=checks)
        task = asyncio.ensure_future(world.bench.pipeline.process(record_of(event(stream=True))))
        if index < RUNS_MAX - 1 and chance.random() < 0.4:
            for _ in range(chance.randrange(400)):
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
                continue
        ended = Ended(await task)
        _require(schedule, ended, releases)
        return ended
    raise AssertionError("unreachable")


def _require(schedule: Schedule, ended: Ended, releases: LoggedReleases) -> None:
    """Raise Broken if the end does not keep what was shown, or shows what must not be shown."""
    log, seed = schedule.log, schedule.seed
    if schedule.broken:
        raise Broken(schedule.broken[0], seed)
    if not ended.response.replaced and not ended.text.startswith(log):
        raise Broken(f"the response takes back what was shown: {log!r}, {ended.text!r}", seed)
    if not ended.response.replaced and not ended.text.startswith(releases.sent):
        raise Broken(f"the response is without what was sent: {releases.sent!r}", seed)
    if not is_clean(log):
        raise Broken(f"a fault was shown: {log!r}", seed)
    if SECRETS_BEGINNING in log:
        raise Broken(f"a number was shown that went on: {log!r}", seed)
    if is_bare_refusal(log) and not schedule.has_last:
        raise Broken(f"a bare refusal was shown: {log!r}", seed)
    if ended.audit.released_over:
        raise Broken("released over, though every check is the same each time", seed)
    lengths = sum(piece.length for piece in ended.audit.released)
    if ended.audit.released and lengths != len(ended.text):
        raise Broken(f"pieces of {lengths} characters, a text of {len(ended.text)}", seed)
    marked = any(piece.source is DraftSource.REDACTION for piece in ended.audit.released)
    if ended.response.action is Action.PUBLISHED and (marked or REDACTION_MARK in ended.text):
        raise Broken("redacted, and published as if not", seed)


def tally(seeds: range) -> Counter[str]:
    """Run the schedules of these seeds; return how they ended."""
    ends: Counter[str] = Counter()
    for seed in seeds:
        schedule = Schedule(seed)
        ended = asyncio.run(run(schedule))
        ends[ended.response.action.value] += 1
        ends["with text released"] += bool(schedule.log)
        ends["replaced"] += ended.response.replaced
        ends["continued after a fault"] += len({piece.attempt for piece in ended.audit.released}) > 1
        ends["characters released"] += len(schedule.log)
    return ends


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args(arguments)
    ends = tally(range(asked.first, asked.first + asked.count))
    sys.stdout.write("".join(f"{count:>12,}  {name}\n" for name, count in sorted(ends.items())))


if __name__ == "__main__":
    main(sys.argv[1:])
