"""The options of `sluicegate policy`."""

import argparse
from pathlib import Path

from workers.commands.console.argument_types import count
from workers.commands.console.subcommands import Subcommands


def add_policy(commands: Subcommands) -> None:
    """Add the commands for writing, checking and rolling out policies."""
    verbs = commands.group("policy", "inspect policies, sign them and roll them out")
    _add_keygen(verbs)
    _add_sign(verbs)
    _add_publish(verbs)
    _add_lint(verbs)
    _add_show(verbs)
    _add_diff(verbs)
    _add_explain(verbs)
    _add_simulate(verbs)


def _add_keygen(verbs: Subcommands) -> None:
    text = "create a key for signing policies, and print its public half"
    keygen = verbs.add("keygen", "policy.publication:keygen", text)
    keygen.add_argument("file", type=Path, metavar="FILE", help="new file for the private key, which only you can read")


def _add_sign(verbs: Subcommands) -> None:
    sign = verbs.add("sign", "policy.publication:sign", "sign a policy, so that it can be published")
    sign.add_argument("file", nargs="?", type=Path, metavar="FILE", help="bundle, overlay or budget (YAML or JSON)")
    sign.add_argument(
        "--kind", required=True, choices=("bundle", "overlay", "shadow", "budget"), help="kind of the publication"
    )
    sign.add_argument("--key", required=True, type=Path, metavar="FILE", help="private key (Ed25519, PEM)")
    sign.add_argument("--key-id", required=True, metavar="ID", help="the key's name in policy.keys")
    sign.add_argument(
        "--rollback", action="store_true", help="let it take effect although a higher version is published"
    )
    sign.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="VERSION",
        help="with --rollback: take this version back, whatever its date; may be given several times",
    )
    sign.add_argument("--withdraw", metavar="ID@VERSION", help="instead of FILE: withdraw this overlay or shadow")
    sign.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help="file to write the publication to"
    )


def _add_publish(verbs: Subcommands) -> None:
    publish = verbs.add("publish", "policy.publication:publish", "write signed policies to the policy topic")
    publish.add_argument("files", nargs="+", type=Path, metavar="SIGNED", help="a file that `policy sign` wrote")


def _add_lint(verbs: Subcommands) -> None:
    lint = verbs.add("lint", "policy.lint", "say why a policy does not load, and what looks wrong in it")
    lint.add_argument("file", type=Path, metavar="FILE", help="a policy (YAML or JSON)")
    lint.add_argument(
        "--overlay",
        type=Path,
        action="append",
        metavar="FILE",
        help="also load this overlay; may be given several times",
    )
    lint.add_argument("--strict", action="store_true", help="exit with status 1 for notes too, not only for warnings")


def _add_show(verbs: Subcommands) -> None:
    show = verbs.add("show", "policy.show", "show a policy's categories and ceilings")
    show.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a policy (default: the one in force)")
    show.add_argument(
        "--category", action="append", metavar="NAME", help="only this category; may be given several times"
    )
    show.add_argument("--tenant", type=Path, metavar="OVERLAY", help="also show the ceilings under this overlay")
    show.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def _add_diff(verbs: Subcommands) -> None:
    diff = verbs.add("diff", "policy.diff", "say how two policies differ, and by how much the version must rise")
    diff.add_argument("old", type=Path, metavar="OLD", help="a policy (YAML or JSON)")
    diff.add_argument("new", type=Path, metavar="NEW", help="another policy")
    diff.add_argument("--exit-code", action="store_true", help="exit with status 1 if they differ")
    diff.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def _add_explain(verbs: Subcommands) -> None:
    explain = verbs.add("explain", "policy.explain", "explain step by step how an event was decided")
    explain.add_argument(
        "id", metavar="EVENT_ID|CONVERSATION_ID|AUDIT_ID", help="what to explain; of a conversation, each turn"
    )
    _add_audit(explain)
    explain.add_argument(
        "--policy", type=Path, metavar="FILE", help="the policy that decided (default: the one in force)"
    )
    explain.add_argument("--json", action="store_true", help="print one JSON object per line")


def _add_simulate(verbs: Subcommands) -> None:
    simulate = verbs.add("simulate", "policy.simulate", "show which recorded decisions a policy would change")
    simulate.add_argument("--policy", type=Path, required=True, metavar="NEW", help="the policy to try (YAML or JSON)")
    _add_audit(simulate)
    simulate.add_argument(
        "--overlays", type=Path, metavar="DIR", help="tenants' overlays for it (default: those in force)"
    )
    simulate.add_argument(
        "--limit", type=count, default=0, metavar="N", help="only the first N decisions (default: all)"
    )
    ago = "ISO 8601, UTC unless it names a zone, or a duration ago: 90s, 30m, 2h, 7d, 1w"
    simulate.add_argument(
        "--since", metavar="TIME", help=f"only events whose record is from this time or later ({ago})"
    )
    simulate.add_argument("--until", metavar="TIME", help="only events whose record is from before this time")
    simulate.add_argument(
        "--picture", type=Path, metavar="FILE", help="also draw the result (.png, .svg, .pdf); needs matplotlib"
    )
    simulate.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def _add_audit(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--from-audit",
        metavar="FILE|TOPIC",
        help="audit records: a file of JSON lines, - for standard input, or a topic (default: topics.audit)",
    )
