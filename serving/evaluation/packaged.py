"""The embedded guards of one process as guards to be measured, with or without an encoder."""

from serving.evaluation.running import Guards
from serving.guards.bias import BiasStage
from serving.guards.classification import ClassificationStage
from serving.guards.encoded import EncodedBias, EncodedClassification, EncodedLabeler
from serving.guards.encoder.lanes import Lanes
from serving.guards.encoder.model import Encoder
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.per_policy import PolicyLabeler
from topology.contract.drafts import CheckReport
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput, Stage


class StageCheck:
    """A stage asked for one draft at a time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def check(self, given: CheckInput) -> CheckReport:
        """Return the stage's report on the draft."""
        return self._stage.run([given])[0]


def embedded_guards(encoder: Encoder | None, bundle: PolicyBundle) -> Guards:
    """Return the packaged guards, with an encoder if one is given."""
    model = LinearModel.load()
    classification, bias = ClassificationStage(model, bundle), BiasStage(model)
    if encoder is None:
        labeler = PolicyLabeler(lambda policy: EmbeddedLabeler(model, policy.categories))
        return Guards(labeler=labeler, checks=(StageCheck(classification), StageCheck(bias)), bundle=bundle)
    lanes = Lanes()
    return Guards(
        labeler=PolicyLabeler(
            lambda policy: EncodedLabeler(EmbeddedLabeler(model, policy.categories), encoder, policy.categories, lanes)
        ),
        checks=(
            StageCheck(EncodedClassification(classification, encoder, bundle)),
            StageCheck(EncodedBias(bias, encoder)),
        ),
        bundle=bundle,
    )
