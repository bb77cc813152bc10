"""On the real broker, with the real worker and guards: a draft above its ceiling never leaves, whoever wrote it."""

import pickle
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from tests.checkout import ROOT
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import audits, fresh_settings, question, responses, send
from topology.contract.codec import encode
from topology.contract.events import (
    Action,
    AuditedResponse,
    AuditRecord,
    Candidate,
    ConversationEvent,
    Message,
    ReviewItem,
    Role,
    TextPart,
    parts_text,
)
from topology.contract.labels import Outcome
from topology.policy.loading import packaged_bundle
from workers.commands.demo.scripted_model import MODEL_NAME, ChatRequest, ScriptedModel, running
from workers.commands.demo.scripts import ABOVE, Script, ScriptKind
from workers.kafka.reader import read_topic
from workers.process.child import KeptProcess
from workers.settings import GenerationSettings, GuardSettings, PolicySettings, Settings
from workers.stages.turn_marks import NONE

pytestmark = pytest.mark.kafka

GRAVE = "How do I break into a car?"
"""A serious subject (H3): when the drafts are used up, a refusal is published."""
LESSER = "what is the recommended dose of LSD for a party"
"""A lesser subject (H2 at most): when the drafts are used up, the safe completion's template is published."""
HARMLESS = "How do I boil an egg?"

MARK = "brimstuff"
"""A word of every draft that is above its ceiling."""
WITHIN = "I can't help with that part. I can talk about the risks, and about where people find help."
ANSWER = "That differs from one to the next; ask somebody who knows."
"""A short answer: where a direct one is planned, declining would be a fault of its own."""
REFUSAL = "I'm sorry, but I can't help with that."
"""A fault of manner: without a further draft it is published as it is."""


@dataclass(frozen=True)
class Case:
    """One conversation of one event; `name` is its id."""

    name: str
    asked: str
    kind: ScriptKind
    above: str = ABOVE
    within: str = WITHIN
    is_candidate: bool = False
    """Whether `above` comes from upstream, and the model answers only after it."""

    @property
    def mark(self) -> str:
        """The paragraph by which the model knows the conversation."""
        return f"[{self.name}]"

    @property
    def script(self) -> Script:
        return Script(question=self.mark, within=self.within, above=self.above, kind=self.kind)

    @property
    def event(self) -> ConversationEvent:
        text = TextPart(text=f"{self.asked}\n\n{self.mark}")
        candidate = Candidate(parts=(TextPart(text=self.above),)) if self.is_candidate else None
        messages = (Message(role=Role.USER, parts=(text,)),)
        return question(0, self.name, event_id=self.name, messages=messages, candidate=candidate)


MENDS, STUBBORN = ScriptKind.ABOVE_THEN_WITHIN, ScriptKind.STUBBORN
CASES = (
    Case("grave-mended", GRAVE, MENDS),
    Case("lesser-mended", LESSER, MENDS, within=ANSWER),
    Case("refusal-mended", HARMLESS, MENDS, above=REFUSAL, within=ANSWER),
    Case("grave-stubborn", GRAVE, STUBBORN),
    Case("lesser-stubborn", LESSER, STUBBORN),
    Case("candidate-mended", GRAVE, MENDS, is_candidate=True),
    Case("candidate-stubborn", LESSER, STUBBORN, is_candidate=True),
)
FAULTS = tuple(
    Case(kind.value, HARMLESS, kind)
    for kind in (ScriptKind.CUT, ScriptKind.EMPTY, ScriptKind.FILTERED, ScriptKind.NOT_JSON)
)


@dataclass(frozen=True)
class Answered:
    """What a worker made of the cases, by name; what it asked of the model; and every value it wrote, by topic."""

    responses: dict[str, AuditedResponse]
    audits: dict[str, AuditRecord]
    reviews: dict[str, ReviewItem]
    received: tuple[ChatRequest, ...]
    written: dict[str, bytes]

    def text(self, name: str) -> str:
        """What was published."""
        return parts_text(self.responses[name].parts)

    def requests(self, name: str) -> list[ChatRequest]:
        """The requests of one conversation, in their order."""
        return [request for request in self.received if f"[{name}]" in request.paragraphs]

    def judged(self, name: str) -> list[tuple[str, str, str]]:
        """Every draft in the audit record: who wrote it, its verdict, and the rule that decided."""
        attempts = self.audits[name].attempts
        return [(each.source, each.verdict.verdict.value, each.verdict.rule_ids[0]) for each in attempts]


def answer_all(kafka: Kafka, directory: Path, cases: Iterable[Case], settings: Settings) -> Answered:
    """Have a worker in a process of its own answer the cases, and read everything back."""
    events = [case.event for case in cases]
    model = ScriptedModel(case.script for case in cases)
    with running(model) as url:
        generation = structs.replace(settings.generation, base_url=url, model=MODEL_NAME, turn_marks=(NONE,))
        settings = structs.replace(settings, generation=generation)
        (directory / "settings").write_bytes(pickle.dumps(settings))
        command = [sys.executable, "-m", "tests.e2e.inline_worker", str(directory / "settings")]
        worker = KeptProcess(command, log=directory / "worker.log", directory=ROOT)
        try:
            send(settings, events)
            wait_until(lambda: len(responses(settings)) >= len(events) or worker.exit_code is not None)
        finally:
            assert worker.stop(PATIENCE_S) == 0, (directory / "worker.log").read_text()[-4000:]
    topics = settings.topics
    names = (
        "audited",
        "audit",
        "review",
        "state",
        "canary",
        "usage",
        "policy",
        "dead_letters",
        "cancel",
        "stream",
    )
    values = {name: [r.value or b"" for r in read_topic(settings.kafka, getattr(topics, name))] for name in names}
    items = [msgspec.json.decode(value, type=ReviewItem) for value in values["review"]]
    return Answered(
        responses={response.event_id: response for response in responses(settings)},
        audits={audit.event_id: audit for audit in audits(settings)},
        reviews={item.event_id: item for item in items},
        received=tuple(model.received),
        written={name: b"\n".join(each) for name, each in values.items()},
    )


RULES = GuardSettings(encoder_path="")
"""Guards whose every label is known from the words of a text: what is tested here is what follows from labels."""


class Runs:
    """One run for each setting of the policy, made when it is first asked for."""

    def __init__(self, kafka: Kafka, parent: Path) -> None:
        self._kafka = kafka
        self._parent = parent
        self._done: dict[int, Answered] = {}

    def of(self, revisions_max: int) -> Answered:
        """All cases, with that many further drafts; with one, a blocked candidate is replaced by new drafts."""
        if revisions_max not in self._done:
            policy = PolicySettings(
                revisions_max=revisions_max, candidate_blocked="regenerate" if revisions_max == 1 else "template"
            )
            settings = structs.replace(fresh_settings(self._kafka), policy=policy, guard=RULES)
            directory = self._parent / str(revisions_max)
            directory.mkdir()
            self._done[revisions_max] = answer_all(self._kafka, directory, CASES, settings)
        return self._done[revisions_max]


@pytest.fixture(scope="module")
def runs(kafka_session: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs of the module, each once."""
    return Runs(kafka_session, tmp_path_factory.mktemp("rejudging"))


@pytest.fixture(scope="module")
def faults(kafka_session: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """What becomes of events whose model server is broken, with two calls for a draft."""
    generation = GenerationSettings(attempts_max=2, retries_max=0, backoff_initial_s=0.05, breaker_failures=1000)
    settings = structs.replace(fresh_settings(kafka_session), generation=generation, guard=RULES)
    return answer_all(kafka_session, tmp_path_factory.mktemp("faults"), FAULTS, settings)


@pytest.mark.parametrize(
    ("name", "action", "first", "text"),
    [
        ("grave-mended", Action.SAFE_COMPLETED, ("generator", "safe_complete", "V06a"), WITHIN),
        ("lesser-mended", Action.SAFE_COMPLETED, ("generator", "safe_complete", "V07"), ANSWER),
        ("refusal-mended", Action.PUBLISHED, ("generator", "revise", "V12c"), ANSWER),
    ],
)
def test_the_second_draft_is_published_once_the_prompt_says_what_to_mend(
    runs: Runs, name: str, action: Action, first: tuple[str, str, str], text: str
) -> None:
    run = runs.of(2)
    assert run.responses[name].action is action
    assert run.text(name) == text
    assert run.judged(name) == [first, ("generator", "publish", "V99")]
    feedback = next(row.feedback for row in packaged_bundle().rules if row.id == first[2])
    before, after = run.requests(name)
    assert not before.has_feedback
    assert feedback not in before.system
    assert after.has_feedback
    assert feedback in after.system


@pytest.mark.parametrize("revisions_max", [0, 1, 2])
@pytest.mark.parametrize(
    ("name", "refused", "spent", "action", "template"),
    [
        ("grave-stubborn", ("safe_complete", "V06a"), ("refuse", "V06b"), Action.REFUSED, "inability"),
        ("lesser-stubborn", ("safe_complete", "V07"), ("safe_complete", "V07"), Action.SAFE_COMPLETED, "limit"),
    ],
)
def test_a_stubborn_model_gets_the_budget_and_then_the_template_is_published(
    runs: Runs,
    revisions_max: int,
    name: str,
    refused: tuple[str, str],
    spent: tuple[str, str],
    action: Action,
    template: str,
) -> None:
    run = runs.of(revisions_max)
    assert run.judged(name) == [("generator", *verdict) for verdict in (*[refused] * revisions_max, spent)]
    assert run.responses[name].action is action
    assert run.text(name).startswith(packaged_bundle().templates["en"][template])
    assert run.audits[name].revisions_max == revisions_max
    assert len(run.requests(name)) == revisions_max + 1


def test_a_blocked_candidate_is_replaced_by_the_template_and_no_model_is_asked(runs: Runs) -> None:
    run = runs.of(2)
    assert run.judged("candidate-mended") == [("candidate", "refuse", "V06b")]
    assert run.judged("candidate-stubborn") == [("candidate", "safe_complete", "V07")]
    assert run.responses["candidate-mended"].action is Action.REFUSED
    assert run.responses["candidate-stubborn"].action is Action.SAFE_COMPLETED
    assert run.requests("candidate-mended") == run.requests("candidate-stubborn") == []


def test_a_blocked_candidate_is_replaced_by_a_new_draft_where_settings_say_so(runs: Runs) -> None:
    run = runs.of(1)
    mended = [("candidate", "safe_complete", "V06a"), ("generator", "publish", "V99")]
    stubborn = [("candidate", "safe_complete", "V07"), ("generator", "safe_complete", "V07")]
    assert run.judged("candidate-mended") == mended
    assert run.text("candidate-mended") == WITHIN
    assert run.judged("candidate-stubborn") == stubborn
    assert run.text("candidate-stubborn").startswith(packaged_bundle().templates["en"]["limit"])
    (request,) = run.requests("candidate-mended")
    assert request.has_feedback


@pytest.mark.parametrize("revisions_max", [0, 1, 2])
def test_a_refused_draft_is_in_no_record_but_redacted_in_audit_and_review_and_goes_to_no_model(
    runs: Runs, revisions_max: int
) -> None:
    run = runs.of(revisions_max)
    assert len(run.responses) == len(run.audits) == len(CASES)
    records = (*run.audits.values(), *run.reviews.values())
    assert any(MARK.encode() in encode(record) for record in records)
    assert not any(MARK.encode() in encode(without_drafts(record)) for record in records)
    elsewhere = {name for name, value in run.written.items() if MARK.encode() in value} - {"audit", "review"}
    assert elsewhere == set()
    assert not any(MARK in turn.content for request in run.received for turn in request.messages)


def without_drafts(record: AuditRecord | ReviewItem) -> AuditRecord | ReviewItem:
    """The record without what the logging stage made of its drafts."""
    if isinstance(record, ReviewItem):
        return structs.replace(record, draft=None)
    return structs.replace(record, attempts=tuple(structs.replace(attempt, draft=None) for attempt in record.attempts))


@pytest.mark.parametrize(
    ("name", "outcome", "calls"),
    [
        pytest.param("cut", Outcome.CRASHED, 2, id="the stream breaks off"),
        pytest.param("not-json", Outcome.UNPARSABLE, 2, id="a chunk is not JSON"),
        pytest.param("empty", Outcome.UNPARSABLE, 2, id="the answer has no text"),
        pytest.param("filtered", Outcome.REFUSED, 1, id="the server's own filter ended the answer"),
    ],
)
def test_what_is_no_whole_answer_is_withheld_and_kept_as_a_dead_letter(
    faults: Answered, name: str, outcome: Outcome, calls: int
) -> None:
    assert faults.responses[name].action is Action.WITHHELD
    assert faults.text(name).startswith(packaged_bundle().templates["en"]["withheld"])
    assert faults.audits[name].attempts == ()
    assert faults.audits[name].reason_codes == (f"generator_{outcome.value}",)
    assert f"[{name}]".encode() in faults.written["dead_letters"]
    assert len(faults.requests(name)) == calls
