"""The options of `sluicegate policy`."""

import argparse
from pathlib import Path

from workers.commands.console.argument_types import count
from workers.commands.console.subcommands import Subcommands


def add_policy(commands: Subcommands) -> None:
    """Add the group of commands that policies are written, proven and rolled out with."""
    verbs = commands.group("policy", "look at policies, sign them and roll them out")
    _add_keygen(verbs)
    _add_sign(verbs)
    _add_publish(verbs)
    _add_lint(verbs)
    _add_show(verbs)
    _add_diff(verbs)
    _add_explain(verbs)
    _add_simulate(verbs)


def _add_keygen(verbs: Subcommands) -> None:
    keygen = verbs.add(
        "keygen", "policy.publication:keygen", "make a key to sign policies with; prints its public half"
    )
    keygen.add_argument("file", type=Path, metavar="FILE", help="a new file for the private key, readable by you alone")


def _add_sign(verbs: Subcommands) -> None:
    sign = verbs.add("sign", "policy.publication:sign", "sign a policy, so that it can be published on the topic")
    sign.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a bundle or an overlay (YAML or JSON)")
    sign.add_argument("--kind", required=True, choices=("bundle", "overlay", "shadow"), help="what it is published as")
    sign.add_argument("--key", required=True, type=Path, metavar="FILE", help="private key (Ed25519, PEM)")
    sign.add_argument("--key-id", required=True, metavar="ID", help="the key's name in policy.keys")
    sign.add_argument("--rollback", action="store_true", help="let it take effect although a higher version is there")
    sign.add_argument("--withdraw", metavar="ID@VERSION", help="instead of FILE: withdraw this overlay or shadow")
    sign.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="where the publication goes")


def _add_publish(verbs: Subcommands) -> None:
    publish = verbs.add("publish", "policy.publication:publish", "write signed policies onto the topic")
    publish.add_argument("files", nargs="+", type=Path, metavar="SIGNED", help="what `policy sign` wrote")


def _add_lint(verbs: Subcommands) -> None:
    lint = verbs.add("lint", "policy.lint", "say why a policy does not load, and what is odd about it")
    lint.add_argument("file", type=Path, metavar="FILE", help="a policy (YAML or JSON)")
    lint.add_argument(
        "--overlay", type=Path, action="append", metavar="FILE", help="also load this overlay with it; several times"
    )
    lint.add_argument("--strict", action="store_true", help="status 1 for notes too, not for warnings alone")


def _add_show(verbs: Subcommands) -> None:
    show = verbs.add("show", "policy.show", "show a policy's categories and ceilings")
    show.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a policy (default: the one in force)")
    show.add_argument("--category", action="append", metavar="NAME", help="this one; may be given several times")
    show.add_argument("--tenant", type=Path, metavar="OVERLAY", help="also its ceilings under the overlay in this file")
    show.add_argument("--json", action="store_true", help="one JSON object instead of tables")


def _add_diff(verbs: Subcommands) -> None:
    diff = verbs.add("diff", "policy.diff", "say what two policies differ in, and by how much of a version")
    diff.add_argument("old", type=Path, metavar="OLD", help="a policy (YAML or JSON)")
    diff.add_argument("new", type=Path, metavar="NEW", help="another one")
    diff.add_argument("--exit-code", action="store_true", help="status 1 where they differ")
    diff.add_argument("--json", action="store_true", help="one JSON object instead of tables")


def _add_explain(verbs: Subcommands) -> None:
    explain = verbs.add("explain", "policy.explain", "say step by step why an event was answered as it was")
    explain.add_argument("id", metavar="EVENT_ID|AUDIT_ID", help="of the event, or of its audit record")
    _add_audit(explain)
    explain.add_argument(
        "--policy", type=Path, metavar="FILE", help="the policy that decided (default: the one in force)"
    )
    explain.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_simulate(verbs: Subcommands) -> None:
    simulate = verbs.add("simulate", "policy.simulate", "say which recorded decisions a policy would change")
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
