"""The embedded guards of one process: the packaged n-gram heads with phrases and, if settings name one, the encoder."""

import functools

from serving.guards.bias import BiasStage
from serving.guards.classification import ClassificationStage, classification_version
from serving.guards.encoded import Allowance, EncodedBias, EncodedClassification, EncodedLabeler
from serving.guards.encoder.lanes import Lanes
from serving.guards.encoder.model import Encoder, description_of, encoder_folder, version_of
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.per_policy import PolicyLabeler, PolicyStage
from serving.guards.warm_up import warm_up_event, warm_up_policy
from topology.contract.names import StageName
from topology.policy.bundle import PolicyBundle
from topology.ports import Stage
from workers.settings import GuardSettings


def embedded_labeler(guard: GuardSettings, timeout_s: float) -> PolicyLabeler:
    """Return the labeller after it has labelled a first text, so that no event waits for what it builds.

    `timeout_s` is the time that it has for a request.
    """
    model = LinearModel.load()
    if not guard.encoder_path:
        EmbeddedLabeler(model, warm_up_policy().categories).label_now(warm_up_event())
        return PolicyLabeler(lambda policy: EmbeddedLabeler(model, policy.categories))
    encoder = encoder_of(guard.encoder_path, guard.encoder_threads)
    lanes, allowance = Lanes(guard.encoder_threads, guard.long_waiting_max), _allowance(guard, timeout_s)

    def labeler_of(policy: PolicyBundle) -> EncodedLabeler:
        rules = EmbeddedLabeler(model, policy.categories)
        return EncodedLabeler(rules, encoder, policy.categories, lanes, allowance)

    labeler_of(warm_up_policy()).label_now(warm_up_event())
    return PolicyLabeler(labeler_of)


def classification(guard: GuardSettings, timeout_s: float) -> Stage:
    """Return the classification stage, which has `timeout_s` for a batch."""
    model = LinearModel.load()
    name, version = StageName.CLASSIFICATION.value, classification_version(model)
    if not guard.encoder_path:
        return PolicyStage(name, version, lambda policy: ClassificationStage(model, policy))
    encoder, allowance = encoder_of(guard.encoder_path, guard.encoder_threads), _allowance(guard, timeout_s)
    return PolicyStage(
        name,
        f"{version}+encoder-{encoder.version}",
        lambda policy: EncodedClassification(ClassificationStage(model, policy), encoder, policy, allowance),
    )


def bias(guard: GuardSettings, timeout_s: float) -> Stage:
    """Return the bias stage, which has `timeout_s` for a batch."""
    rules = BiasStage(LinearModel.load())
    if not guard.encoder_path:
        return rules
    return EncodedBias(rules, encoder_of(guard.encoder_path, guard.encoder_threads), _allowance(guard, timeout_s))


def stage_version(guard: GuardSettings, name: StageName) -> str:
    """Return the version of classification or bias, without loading the encoder."""
    model = LinearModel.load()
    rules = classification_version(model) if name is StageName.CLASSIFICATION else BiasStage(model).version
    if not guard.encoder_path:
        return rules
    return f"{rules}+encoder-{version_of(description_of(encoder_folder(guard.encoder_path)))}"


def _allowance(guard: GuardSettings, timeout_s: float) -> Allowance:
    return Allowance(windows_max=guard.windows_max, share=guard.windows_share, timeout_s=timeout_s)


@functools.cache
def encoder_of(path: str, threads: int) -> Encoder:
    """Return the encoder in a folder, loaded once a process. Raises EncoderError or OSError if it cannot be."""
    return Encoder(encoder_folder(path), threads)
