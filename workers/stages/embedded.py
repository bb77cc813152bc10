"""The embedded guards of one process: the packaged n-gram heads with phrases and, if settings name one, the encoder."""

import functools
from concurrent.futures import ThreadPoolExecutor

from serving.guards.bias import BiasStage
from serving.guards.classification import ClassificationStage, classification_version
from serving.guards.encoded import EncodedBias, EncodedClassification, EncodedLabeler
from serving.guards.encoder.model import Encoder, encoder_folder
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.per_policy import PolicyLabeler, PolicyStage
from serving.guards.warm_up import warm_up_event, warm_up_policy
from topology.contract.names import StageName
from topology.policy.bundle import PolicyBundle
from topology.ports import Stage
from workers.settings import GuardSettings


def embedded_labeler(guard: GuardSettings) -> PolicyLabeler:
    """Return the labeller after it has labelled a first text, so that no event waits for what it builds."""
    model = LinearModel.load()
    if not guard.encoder_path:
        EmbeddedLabeler(model, warm_up_policy().categories).label_now(warm_up_event())
        return PolicyLabeler(lambda policy: EmbeddedLabeler(model, policy.categories))
    encoder = encoder_of(guard.encoder_path, guard.encoder_threads)
    pool = ThreadPoolExecutor(guard.encoder_threads, thread_name_prefix="encoder")

    def labeler_of(policy: PolicyBundle) -> EncodedLabeler:
        return EncodedLabeler(EmbeddedLabeler(model, policy.categories), encoder, policy.categories, pool)

    labeler_of(warm_up_policy()).label_now(warm_up_event())
    return PolicyLabeler(labeler_of)


def classification(guard: GuardSettings) -> Stage:
    """Return the classification stage."""
    model = LinearModel.load()
    name, version = StageName.CLASSIFICATION.value, classification_version(model)
    if not guard.encoder_path:
        return PolicyStage(name, version, lambda policy: ClassificationStage(model, policy))
    encoder = encoder_of(guard.encoder_path, guard.encoder_threads)
    return PolicyStage(
        name,
        f"{version}+encoder-{encoder.version}",
        lambda policy: EncodedClassification(ClassificationStage(model, policy), encoder, policy),
    )


def bias(guard: GuardSettings) -> Stage:
    """Return the bias stage."""
    rules = BiasStage(LinearModel.load())
    if not guard.encoder_path:
        return rules
    return EncodedBias(rules, encoder_of(guard.encoder_path, guard.encoder_threads))


@functools.cache
def encoder_of(path: str, threads: int) -> Encoder:
    """Return the encoder in a folder, loaded once a process. Raises EncoderError or OSError if it cannot be."""
    return Encoder(encoder_folder(path), threads)
