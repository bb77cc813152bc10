"""`sluicegate policy sign`: a policy document into a signed publication, ready to be published."""

import argparse
from pathlib import Path

from topology.policy.envelopes import Envelope, PublicationKind
from workers.commands.console.terminal import Terminal
from workers.commands.console.usage_error import WrongUse
from workers.policy.publishing import document_envelope, sealed, withdrawal
from workers.policy.signing import private_key
from workers.process.clock import SystemClock
from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the publication. Raises PolicyError where the document does not load: nothing is signed then."""
    envelope = _envelope(arguments, settings)
    key = private_key(Path(arguments.key).read_bytes())
    Path(arguments.output).write_bytes(sealed(envelope, arguments.key_id, key) + b"\n")
    what = "roll-back to" if envelope.rollback else "publication of" if envelope.document else "withdrawal of"
    Terminal().say(f"{arguments.output}: {what} {envelope.title}, signed by {arguments.key_id}")
    return 0


def _envelope(arguments: argparse.Namespace, settings: Settings) -> Envelope:
    kind, issued_ms = PublicationKind(arguments.kind), SystemClock().now_ms()
    if arguments.withdraw is None:
        if arguments.file is None:
            raise WrongUse("FILE", "", "the document to sign, or --withdraw what is to go")
        return document_envelope(kind, arguments.file, settings, issued_ms=issued_ms, rollback=arguments.rollback)
    name, _, version = arguments.withdraw.partition("@")
    if arguments.file is not None or kind is PublicationKind.BUNDLE or not version:
        raise WrongUse("--withdraw", arguments.withdraw, "ID@VERSION of an overlay or a shadow, and no FILE beside it")
    return withdrawal(kind, name, version, issued_ms=issued_ms, rollback=arguments.rollback)
