"""The command line of `sluicegate policy`: verbs and their options. A verb is `workers.commands.policy_<verb>`."""

import argparse
from pathlib import Path
from typing import Protocol

from workers.argument_types import count


class Subparsers(Protocol):
    """What `add_subparsers` returns; argparse gives its type no public name."""

    def add_parser(self, name: str, *, parents: list[argparse.ArgumentParser], help: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add a command."""
        ...


def add_policy(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Add the group of commands that policies are written, proven and rolled out with."""
    policy = commands.add_parser("policy", parents=[common], help="look at policies, sign them and roll them out")
    verbs = policy.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_keygen(verbs, common)
    _add_simulate(verbs, common)


def _add_keygen(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    keygen = verbs.add_parser(
        "keygen", parents=[common], help="make a key to sign policies with; prints its public half"
    )
    keygen.add_argument("file", type=Path, metavar="FILE", help="a new file for the private key, readable by you alone")


def _add_simulate(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    simulate = verbs.add_parser("simulate", parents=[common], help="say which recorded decisions a policy would change")
    simulate.add_argument("--policy", type=Path, required=True, metavar="NEW", help="the policy to try (YAML or JSON)")
    _add_audit(simulate)
    simulate.add_argument(
        "--overlays", type=Path, metavar="DIR", help="tenants' overlays to go with it (default: policy.overlays)"
    )
    simulate.add_argument("--limit", type=count, default=0, metavar="N", help="the first N decisions (default: all)")
    ago = "ISO 8601, UTC where it names no zone, or a duration ago: 90s, 30m, 2h, 7d, 1w"
    simulate.add_argument("--since", metavar="TIME", help=f"of events whose record is from then or later ({ago})")
    simulate.add_argument("--until", metavar="TIME", help="of events whose record is from before then")
    simulate.add_argument(
        "--picture", type=Path, metavar="FILE", help="also draw it (.png, .svg, .pdf); needs matplotlib"
    )
    simulate.add_argument("--json", action="store_true", help="one JSON object instead of tables")


def _add_audit(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--from-audit",
        metavar="FILE|TOPIC",
        help="audit records: one JSON object a line, - for standard input, or a topic (default: topics.audit)",
    )
