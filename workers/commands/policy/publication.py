"""`sluicegate policy keygen`, `sign` and `publish`: turn a policy document into a publication for the workers."""

import argparse
import os
import sys
from pathlib import Path

from topology.contract.errors import PolicyError, PolicyRefusal
from topology.policy.envelopes import Envelope, PublicationKind
from workers.commands.console.terminal import Terminal
from workers.commands.console.usage_error import WrongUse
from workers.kafka.client import kafka_session
from workers.kafka.errors import KafkaUnavailable
from workers.policy.publishing import document_envelope, sealed, withdrawal, without_effect, would_be, write
from workers.policy.signing import new_private_key, private_key, public_half
from workers.process.clock import SystemClock
from workers.settings import Settings

ONLY_OWNER = 0o600

READ_TIMEOUT_S = 60.0
"""The bound on reading the topic, which shows the effect that the publications will have."""


def keygen(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write a new private key to a file, and print the public key. An existing file is an error: it may be in use."""
    del settings
    pem = new_private_key()
    with os.fdopen(os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_OWNER), "wb") as file:
        file.write(pem)
    sys.stdout.write(public_half(pem) + "\n")
    return 0


def sign(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write a signed publication. Raises PolicyError, and signs nothing, if the document does not load."""
    envelope = _envelope(arguments, settings)
    key = private_key(Path(arguments.key).read_bytes())
    Path(arguments.output).write_bytes(sealed(envelope, arguments.key_id, key) + b"\n")
    what = "roll-back to" if envelope.rollback else "publication of" if envelope.document else "withdrawal of"
    Terminal().say(f"{arguments.output}: {what} {envelope.title}, signed by {arguments.key_id}")
    return 0


def _envelope(arguments: argparse.Namespace, settings: Settings) -> Envelope:
    kind, issued_ms, over = PublicationKind(arguments.kind), SystemClock().now_ms(), tuple(arguments.over)
    if over and (not arguments.rollback or arguments.withdraw is not None):
        raise WrongUse("--over", " ".join(over), "only with --rollback and a FILE")
    if arguments.withdraw is None:
        if arguments.file is None:
            raise WrongUse("FILE", "", "name the document to sign, or use --withdraw")
        return document_envelope(
            kind, arguments.file, settings, issued_ms=issued_ms, rollback=arguments.rollback, over=over
        )
    name, _, version = arguments.withdraw.partition("@")
    if arguments.file is not None or kind is PublicationKind.BUNDLE or not version:
        raise WrongUse(
            "--withdraw", arguments.withdraw, "name an overlay, a shadow or a budget as ID@VERSION, and no FILE"
        )
    return withdrawal(kind, name, version, issued_ms=issued_ms, rollback=arguments.rollback)


def publish(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write all publications, acknowledged by all in-sync replicas; or none if one would have no effect.

    One that stands on the topic already, byte for byte, is not written again.

    Raises PolicyError with the reasons.
    """
    if not settings.policy.keys:
        raise WrongUse(
            "policy.keys is empty",
            "",
            "name the public keys that workers accept; signatures are checked first",
        )
    publications = [Path(file).read_bytes().strip() for file in arguments.files]
    topic = settings.topics.policy
    with kafka_session(settings.kafka, "policy publish", topic) as kafka:
        try:
            found, held = would_be(settings, kafka, publications, READ_TIMEOUT_S)
        except TimeoutError as exc:
            raise KafkaUnavailable("policy publish", str(exc)) from exc
        if reasons := without_effect(publications, found):
            raise PolicyError(*reasons)
        new = [(file, raw) for file, raw in zip(arguments.files, publications, strict=True) if raw not in held]
        positions = write(kafka, topic, [raw for _, raw in new])
    terminal = Terminal()
    for (file, _), (_, partition, offset) in zip(new, positions, strict=True):
        terminal.say(f"{file}: written to {topic}, partition {partition}, offset {offset}", "green")
    for file, raw in zip(arguments.files, publications, strict=True):
        if raw in held:
            terminal.say(f"{file}: {topic} has it already; nothing was written")
    for _, refusal in found.refused:
        if refusal.why is PolicyRefusal.INVALID:
            terminal.say(f"has no effect: {refusal}", "yellow")
    if found.policies is None:
        terminal.say(f"no bundle {settings.policy.id} is valid yet: workers wait for one")
    else:
        terminal.say(
            f"workers will use {found.policies.bundle.ref}, overlays: {len(found.policies.overlays)}, "
            f"budgets: {len(found.policies.budgets)}"
        )
    return 0
