"""Names and events of the GenAI conventions, OpenInference's kinds, and the page that lists every attribute."""

from opentelemetry.trace import SpanKind

from tests.checkout import ROOT
from tests.topology.telemetry.recorded_spans import Recorded, record, walk
from topology.contract.events import Action
from topology.reference.span_table import MEANINGS, attribute_table
from topology.telemetry.options import PLAIN, SpanStyle
from topology.telemetry.span_names import GUARDRAIL_EVENT, Attribute


def test_a_verdict_is_an_event_for_each_of_its_rules_where_the_proposal_is_opted_in() -> None:
    for style, expected in ((PLAIN, []), (SpanStyle(with_guardrail_results=True), ["rule.1"])):
        recorded = Recorded(style=style)
        with recorded.tracing.event(record()) as trace:
            walk(trace)
        results = [event for event in recorded.named("guard output").events if event.name == GUARDRAIL_EVENT]
        assert [(event.attributes or {})["gen_ai.guardrail.policy.rule.id"] for event in results] == expected
        for event in results:
            known = event.attributes or {}
            assert known["gen_ai.guardrail.result.type"] == "sluicegate.verdict"
            assert known["gen_ai.guardrail.source"] == "output"


def test_a_guard_models_call_is_named_after_the_proposal_where_it_is_opted_in() -> None:
    for style, name in ((PLAIN, "chat"), (SpanStyle(with_guardrail_results=True), "apply_guardrail")):
        recorded = Recorded(style=style)
        with recorded.tracing.event(record()) as trace:
            for role in ("judge", "generator"):
                with trace.chat(role, 1):
                    pass
        operations = [(span.attributes or {})["gen_ai.operation.name"] for span in recorded.spans[:2]]
        assert operations == [name, "chat"]
        assert [span.name.partition(" ")[0] for span in recorded.spans[:2]] == operations


def test_spans_say_their_openinference_kind_where_it_is_asked_for() -> None:
    recorded = Recorded(style=SpanStyle(with_openinference=True))
    with recorded.tracing.event(record()) as trace:
        walk(trace)
    assert {span.name: (span.attributes or {})["openinference.span.kind"] for span in recorded.spans} == {
        "process conversations.events": "CHAIN",
        "guard input": "GUARDRAIL",
        "chat m1": "LLM",
        "guard output": "GUARDRAIL",
        "classification": "EVALUATOR",
        "bias": "EVALUATOR",
        "logging": "EVALUATOR",
        "send conversations.audited": "CHAIN",
    }


def test_a_guards_scores_are_evaluation_events_of_its_span() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        walk(trace)
    (event,) = recorded.named("classification").events
    assert event.name == "gen_ai.evaluation.result"
    assert event.attributes == {"gen_ai.evaluation.name": "toxic", "gen_ai.evaluation.score.value": 0.25}


def test_the_page_lists_every_attribute_as_the_code_does() -> None:
    page = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    assert set(MEANINGS) == set(Attribute)
    assert attribute_table() in page, "python -m topology.reference.span_table"


def test_an_attribute_stands_only_on_the_spans_that_the_page_says() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        walk(trace, Action.REFUSED)
    for span in recorded.spans:
        operation = span.name.split(" ", maxsplit=1)[0] if span.kind is not SpanKind.INTERNAL else span.name
        words = {operation, "guards" if span.kind is SpanKind.INTERNAL else "messaging spans"}
        for name in span.attributes or {}:
            on = {each.strip() for each in MEANINGS[Attribute(name)][0].split(",")}
            assert on & words, (span.name, name)
