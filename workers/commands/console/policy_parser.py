"""The command line of `sluicegate policy`: verbs and their options. A verb is `workers.commands.policy_<verb>`."""

import argparse
from pathlib import Path
from typing import Protocol

from workers.commands.console.argument_types import count


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
    _add_sign(verbs, common)
    _add_publish(verbs, common)
    _add_lint(verbs, common)
    _add_show(verbs, common)
    _add_diff(verbs, common)
    _add_explain(verbs, common)
    _add_simulate(verbs, common)


def _add_keygen(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    keygen = verbs.add_parser(
        "keygen", parents=[common], help="make a key to sign policies with; prints its public half"
    )
    keygen.add_argument("file", type=Path, metavar="FILE", help="a new file for the private key, readable by you alone")


def _add_sign(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    sign = verbs.add_parser("sign", parents=[common], help="sign a policy, so that it can be published on the topic")
    sign.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a bundle or an overlay (YAML or JSON)")
    sign.add_argument("--kind", required=True, choices=("bundle", "overlay", "shadow"), help="what it is published as")
    sign.add_argument("--key", required=True, type=Path, metavar="FILE", help="private key (Ed25519, PEM)")
    sign.add_argument("--key-id", required=True, metavar="ID", help="the key's name in policy.keys")
    sign.add_argument("--rollback", action="store_true", help="let it take effect although a higher version is there")
    sign.add_argument("--withdraw", metavar="ID@VERSION", help="instead of FILE: withdraw this overlay or shadow")
    sign.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="where the publication goes")


def _add_publish(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    publish = verbs.add_parser("publish", parents=[common], help="write signed policies onto the topic")
    publish.add_argument("files", nargs="+", type=Path, metavar="SIGNED", help="what `policy sign` wrote")


def _add_lint(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    lint = verbs.add_parser("lint", parents=[common], help="say why a policy does not load, and what is odd about it")
    lint.add_argument("file", type=Path, metavar="FILE", help="a policy (YAML or JSON)")
    lint.add_argument(
        "--overlay", type=Path, action="append", metavar="FILE", help="also load this overlay with it; several times"
    )
    lint.add_argument("--strict", action="store_true", help="status 1 for notes too, not for warnings alone")


def _add_show(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    show = verbs.add_parser("show", parents=[common], help="show a policy's categories and ceilings")
    show.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a policy (default: the one in force)")
    show.add_argument("--category", action="append", metavar="NAME", help="this one; may be given several times")
    show.add_argument("--tenant", type=Path, metavar="OVERLAY", help="also its ceilings under the overlay in this file")
    show.add_argument("--json", action="store_true", help="one JSON object instead of tables")


def _add_diff(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    diff = verbs.add_parser(
        "diff", parents=[common], help="say what two policies differ in, and by how much of a version"
    )
    diff.add_argument("old", type=Path, metavar="OLD", help="a policy (YAML or JSON)")
    diff.add_argument("new", type=Path, metavar="NEW", help="another one")
    diff.add_argument("--exit-code", action="store_true", help="status 1 where they differ")
    diff.add_argument("--json", action="store_true", help="one JSON object instead of tables")


def _add_explain(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    explain = verbs.add_parser("explain", parents=[common], help="say step by step why an event was answered as it was")
    explain.add_argument("id", metavar="EVENT_ID|AUDIT_ID", help="of the event, or of its audit record")
    _add_audit(explain)
    explain.add_argument(
        "--policy", type=Path, metavar="FILE", help="the policy that decided (default: the one in force)"
    )
    explain.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_simulate(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    simulate = verbs.add_parser("simulate", parents=[common], help="say which recorded decisions a policy would change")
    simulate.add_argument("--policy", type=Path, required=True, metavar="NEW", help="the policy to try (YAML or JSON)")
    _add_audit(simulate)
    simulate.add_argument(
        "--overlays", type=Path, metavar="DIR", help="tenants' overlays to go with it (default: those in force)"
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
