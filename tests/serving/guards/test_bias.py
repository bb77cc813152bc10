"""The bias stage: unfair only when sure, and only about groups."""

import numpy as np
import pytest

from serving.guards.bias import BiasStage, groups_in
from serving.guards.linear import Head, LinearModel
from serving.text.features import BUCKETS, fold
from tests.contracts.samples import POLICY
from topology.contract.drafts import CheckReport, Draft
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.labels import LabelerIdentity, Mode, Plan, RequestLabels
from topology.contract.names import DraftSource
from topology.ports import CheckInput


def stage(offset: float) -> BiasStage:
    """A model that gives every text the probability sigmoid(offset)."""
    weights = np.zeros(BUCKETS, np.int8)
    head = Head(name="stereotype", weights=weights, scale=1.0, slope=1.0, offset=offset, low=0.3, high=0.5)
    return BiasStage(LinearModel([head], "v"))


def report(text: str, offset: float) -> CheckReport:
    event = ConversationEvent(
        event_id="e",
        conversation_id="c",
        tenant_id="t",
        messages=(Message(role=Role.USER, parts=(TextPart(text="hi"),)),),
    )
    labels = RequestLabels(labeler=LabelerIdentity(model="m", version="v"))
    plan = Plan(mode=Mode.DIRECT_ANSWER, ceilings={})
    draft = Draft(text=text, source=DraftSource.GENERATOR)
    return stage(offset).run(
        [CheckInput(event=event, labels=labels, plan=plan, draft=draft, attempt=1, policy=POLICY)]
    )[0]


@pytest.mark.parametrize(
    ("text", "offset", "unfair"),
    [
        ("Old people cannot learn.", 4.0, True),
        ("Old people cannot learn.", 1.0, False),
        ("Teapots cannot learn.", 4.0, False),
    ],
)
def test_unfair_takes_a_group_and_near_certainty(text: str, offset: float, unfair: bool) -> None:
    assert report(text, offset).unfair is unfair


def test_scores_say_how_often_which_axis_is_named() -> None:
    scores = report("A Muslim woman met a deaf man.", 0.0).scores
    assert scores["stereotype"] == pytest.approx(0.5)
    assert (scores["group.religion"], scores["group.disability"], scores["group.gender"]) == (1.0, 1.0, 2.0)


def test_a_model_without_the_head_is_refused() -> None:
    other = Head(name="x", weights=np.zeros(BUCKETS, np.int8), scale=1.0, slope=1.0, offset=0.0, low=0.1, high=0.9)
    with pytest.raises(ValueError, match="stereotype"):
        BiasStage(LinearModel([other], "v"))


def test_texts_without_people_name_no_group() -> None:
    assert groups_in(fold("The kettle boils at sea level.")) == {}
