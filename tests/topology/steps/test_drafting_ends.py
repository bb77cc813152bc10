"""Drafting always ends, and only what was judged fit leaves: every course that an adversary can give it is played."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest

from serving.fakes import FakeGenerator, clean_report
from tests.topology.steps.pipeline_world import Bench, Ended, candidate, event, finding, finds, record_of
from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.events import Action
from topology.contract.labels import Outcome, Span, VerdictKind
from topology.decision.judge import REDACTION_MARK
from topology.ports import CheckInput

Record = Callable[[str, object], None]

CLEAN, ONE_OVER, FAR_OVER, CUTTABLE, GRAVE, WORST, SOFT, SILENT = range(8)
"""What the adversary's check says of a draft; the last that it cannot tell."""

REPORTS: dict[int, Callable[[CheckInput], CheckReport]] = {
    CLEAN: clean_report("classification"),
    ONE_OVER: finds(finding("wrongdoing.nonviolent", 2, 3)),
    FAR_OVER: finds(finding("wrongdoing.nonviolent", 2, 4)),
    CUTTABLE: finds(finding("ip.verbatim", 2, 3, separable=True, spans=(Span(start=0, end=5),))),
    GRAVE: finds(finding("wrongdoing.nonviolent", 3, 3)),
    WORST: finds(finding("cyber.offense", 4, 4)),
    SOFT: finds(soft_violations=("preaching",)),
}
FIT = {CLEAN, SOFT}
"""What a draft may leave with: nothing, or a lesser fault that no further draft could mend."""


class Adversary:
    """Writes a new text for each draft, and calls it what the script says; past the script's end, `CLEAN`."""

    def __init__(self) -> None:
        self.script: Sequence[int] = ()
        self.said: list[int] = []
        self.judged: list[str] = []
        self.drafted = 0

    def start(self, script: Sequence[int]) -> None:
        self.script, self.said, self.judged, self.drafted = script, [], [], 0

    def draft(self, _: object) -> str:
        self.drafted += 1
        return f"draft number {self.drafted}"

    def report(self, given: CheckInput) -> CheckReport:
        step = len(self.said)
        choice = self.script[step] if step < len(self.script) else CLEAN
        self.said.append(choice)
        self.judged.append(given.draft.text)
        if choice == SILENT:
            raise CheckFailed(Outcome.UNREACHABLE, "classification", "down")
        return REPORTS[choice](given)


class World(NamedTuple):
    """How many further drafts are allowed, and whether the first comes with the event."""

    revisions_max: int
    has_candidate: bool
    candidate_regenerate: bool

    @property
    def drafts_max(self) -> int:
        return 1 if self.has_candidate and not self.candidate_regenerate else 1 + self.revisions_max


def courses(world: World) -> Iterator[tuple[Adversary, Ended]]:
    """Every course that drafting can take, each once: the tree of the adversary's choices, depth first."""
    adversary = Adversary()
    bench = Bench(
        generator=FakeGenerator(adversary.draft),
        classification=adversary.report,
        revisions_max=world.revisions_max,
        candidate_regenerate=world.candidate_regenerate,
    )
    given = record_of(event(candidate=candidate("draft given") if world.has_candidate else None))
    script: list[int] = []
    with asyncio.Runner() as runner:
        while True:
            adversary.start(script)
            yield adversary, Ended(runner.run(bench.pipeline.process(given)))
            script = list(adversary.said)
            while script and script[-1] == SILENT:
                script.pop()
            if not script:
                return
            script[-1] += 1


@pytest.mark.parametrize(
    "world",
    [
        *(World(revisions_max, has_candidate=False, candidate_regenerate=False) for revisions_max in range(3)),
        World(2, has_candidate=True, candidate_regenerate=True),
        World(2, has_candidate=True, candidate_regenerate=False),
    ],
)
def test_every_course_ends_within_the_budget_and_releases_only_what_was_judged_fit(
    world: World, record_property: Record
) -> None:
    seen: set[tuple[int, ...]] = set()
    for adversary, ended in courses(world):
        said, attempts = adversary.said, ended.audit.attempts
        seen.add(tuple(said))
        assert adversary.drafted + world.has_candidate <= world.drafts_max
        assert len(said) == len(attempts) <= 2 * world.drafts_max
        released = ended.response.action in {Action.PUBLISHED, Action.REDACTED} or ended.text == adversary.judged[-1]
        if released:
            assert said[-1] in FIT
            assert ended.text == adversary.judged[-1]
            assert attempts[-1].verdict.verdict is VerdictKind.PUBLISH
            assert (ended.response.action is Action.REDACTED) == (REDACTION_MARK in ended.text)
        else:
            assert said[-1] not in FIT
            assert ended.text not in adversary.judged
        assert (ended.response.action is Action.WITHHELD) == (said[-1] == SILENT)
        assert (ended.response.action is Action.REFUSED) == (
            said[-1] == WORST or (said[-1] == GRAVE and not released and attempts[-1].verdict.rule_ids == ("V06b",))
        )
    assert {course[-1] for course in seen} >= {CLEAN, WORST, SILENT}
    given = ", a candidate given" if world.has_candidate else ""
    record_property(f"courses of drafting, {world.drafts_max} drafts at most{given}", len(seen))
