"""`sluicegate policy publish`: signed publications onto the policy topic, from where workers take them up."""

import argparse
from pathlib import Path

from topology.contract.errors import PolicyError, PolicyRefusal
from workers.commands.console.kafka_session import kafka_session
from workers.commands.console.terminal import Terminal
from workers.commands.console.usage_error import WrongUse
from workers.kafka.errors import KafkaUnavailable
from workers.policy.publishing import key_of, would_be, write
from workers.settings import Settings

READ_TIMEOUT_S = 60.0
"""Bound on reading the topic, to know what the publications will come to."""


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write all of them, acknowledged by all replicas in sync, or none where one would have no effect.

    Raises PolicyError with the reasons.
    """
    if not settings.policy.keys:
        raise WrongUse("policy.keys", "", "the keys that workers accept, so that signatures can be checked first")
    publications = [Path(file).read_bytes().strip() for file in arguments.files]
    topic = settings.topics.policy
    with kafka_session(settings.kafka, "policy publish", topic) as kafka:
        try:
            found = would_be(settings, kafka, publications, READ_TIMEOUT_S)
        except TimeoutError as exc:
            raise KafkaUnavailable("policy publish", str(exc)) from exc
        ours = {key_of(raw) for raw in publications}
        reasons = [reason for other, refusal in found.refused if other.key in ours for reason in refusal.reasons]
        if reasons:
            raise PolicyError(*reasons)
        positions = write(kafka, topic, publications)
    terminal = Terminal()
    for file, (_, partition, offset) in zip(arguments.files, positions, strict=True):
        terminal.say(f"{file}: written to {topic}, partition {partition}, offset {offset}", "green")
    for _, refusal in found.refused:
        if refusal.why is PolicyRefusal.INVALID:
            terminal.say(f"has no effect: {refusal}", "yellow")
    if found.policies is None:
        terminal.say(f"no bundle {settings.policy.id} holds yet: workers wait for one")
    else:
        terminal.say(f"workers will be under {found.policies.bundle.ref}, overlays: {len(found.policies.overlays)}")
    return 0
