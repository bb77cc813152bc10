"""Streams that cannot be written, that the deadline ends, and whole answers behind text of an earlier run."""

import asyncio
from typing import Any

import pytest

from serving.fakes import FakeGenerator, FakeReleases
from tests.topology.steps.pipeline_world import IDENTITY, Ended, event, record_of
from tests.topology.streamed.stream_world import LINE, Streamed
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.events import Action
from topology.contract.labels import RequestLabels, SideEffect, Vulnerability
from topology.ports import OnText
from topology.streamed.answering import StreamBounds

PLAIN = "One is here. Two is here. Three is here. Four is here."


@pytest.mark.parametrize("is_slow_model", [True, False])
def test_a_request_that_the_deadline_ends_counts_as_use(is_slow_model: bool) -> None:
    async def stuck(_text: str) -> None:
        await asyncio.sleep(60)

    class Slow(FakeGenerator):
        async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
            assert on_text is not None
            await on_text(PLAIN)
            await asyncio.sleep(60)
            return await super().generate(request, on_text)

    given: dict[str, Any] = {"generator": Slow(lambda _: PLAIN)} if is_slow_model else {}
    world = Streamed([PLAIN], releases=FakeReleases(on_release=stuck), deadline_s=0.3, **given)
    result = asyncio.run(world.bench.pipeline.process(record_of(event(stream=True))))
    assert result.charge is not None
    used = result.charge.use.generation
    assert used.calls == 1
    assert used.output_tokens == Ended(result).response.usage.output_tokens > 0


async def never(_text: str = "") -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("releases", [FakeReleases(on_open=never), FakeReleases(on_release=never)])
def test_where_the_stream_cannot_be_written_the_answer_leaves_whole_long_before_the_deadline(
    releases: FakeReleases,
) -> None:
    world = Streamed([PLAIN], releases=releases, deadline_s=30, streams=StreamBounds(open_timeout_s=0.05))
    ended = world.answer()
    assert (ended.text, ended.response.action, ended.response.replaced) == (PLAIN, Action.PUBLISHED, True)


CRISIS = RequestLabels(labeler=IDENTITY, vulnerability=Vulnerability.ACUTE_SELF_HARM)


def test_an_answer_in_a_crisis_is_judged_together_with_what_an_earlier_run_released() -> None:
    ended = Streamed([f"{PLAIN} {LINE}"], labels=CRISIS, releases=FakeReleases("Earlier text.")).answer()
    assert ended.text == f"Earlier text.\n\n{PLAIN} {LINE}"
    assert ended.response.action is Action.PUBLISHED
    published = ended.audit.attempts[-1].draft
    assert published is not None
    assert published.redacted == f"<{len(ended.text)} characters>"
    assert [piece.length for piece in ended.audit.released] == [len(ended.text)]


def test_an_answer_in_a_crisis_takes_the_place_of_what_may_not_stand_before_it() -> None:
    ended = Streamed([f"{PLAIN} {LINE}"], labels=CRISIS, releases=FakeReleases("Earlier FAR text.")).answer()
    assert (ended.text, ended.response.replaced) == (f"{PLAIN} {LINE}", True)
    assert ended.audit.released_over
    assert ended.review
    assert SideEffect.ALARM in ended.audit.side_effects
