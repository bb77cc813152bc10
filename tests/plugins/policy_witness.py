"""Ports that leave in the audit record under which policy they were asked: labeller, generator, classification."""

import asyncio
import re
from collections.abc import Sequence

from tests.plugins.policy_publisher import CATEGORY
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.events import AuditRecord, ConversationEvent, parts_text
from topology.contract.labels import (
    Confidence,
    Context,
    Intent,
    LabelerIdentity,
    OutputFinding,
    RequestFinding,
    RequestLabels,
)
from topology.contract.names import DraftSource
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput, OnText

_NAMED = re.compile(r"safety policy, version (\S+?)\. ")

UNDER_WAY_S = 0.15
"""How long a draft takes, so that events are under way whenever a policy is swapped."""


class WitnessLabeler:
    """Finds the category that policies differ in; its version is the policy's reference."""

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """One finding."""
        del event
        finding = RequestFinding(
            category=CATEGORY,
            harm=2,
            intent=Intent.BENIGN,
            context=Context.GENERAL,
            asked_detail=3,
            confidence=Confidence.HIGH,
        )
        return RequestLabels(labeler=LabelerIdentity(model="witness", version=policy.ref), findings=(finding,))


class WitnessGenerator:
    """Answers as the model that the prompt's policy reference names."""

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        """A draft."""
        await asyncio.sleep(UNDER_WAY_S)
        found = _NAMED.search(parts_text(request.messages[0].parts))
        return Draft(
            text="Take it twice a day.", source=DraftSource.GENERATOR, model=found.group(1) if found else "no policy"
        )


class WitnessStage:
    """Finds general help (D2) in every draft of the category; its reports' version is the policy's reference."""

    name = "classification"
    version = "witness"

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """One report per draft, in order."""
        finding = OutputFinding(category=CATEGORY, harm=2, detail_lo=2, detail_hi=2, confidence=Confidence.HIGH)
        return [
            CheckReport(check=self.name, version=given.policy.ref, findings=(finding,), bare_refusal=False)
            for given in batch
        ]


def witnesses(record: AuditRecord) -> set[str]:
    """Every policy that something of the record was made under; one, where nothing went wrong."""
    assert record.labels is not None
    checked = {run.version for each in record.attempts for run in each.labels.guards if run.guard == WitnessStage.name}
    generated = {each.model for each in record.attempts if each.source is DraftSource.GENERATOR}
    assert checked, "a check looked at the draft"
    assert generated, "a model was asked"
    return {record.policy_ref, record.labels.labeler.version} | checked | generated
