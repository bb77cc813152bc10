"""The options of `sluicegate grant`."""

from pathlib import Path

from workers.commands.console.subcommands import Subcommands
from workers.commands.console.times import COMING_FORMS


def add_grant(commands: Subcommands) -> None:
    """Add the commands for signing and verifying grants."""
    verbs = commands.group("grant", "sign grants, and say whether workers accept them")
    _add_sign(verbs)
    _add_verify(verbs)


def _add_sign(verbs: Subcommands) -> None:
    sign = verbs.add("sign", "grant:sign", "sign a grant for one subject of one tenant, and print it as JSON")
    sign.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="a grant (YAML or JSON) that gives the fields without an option; its signature is replaced",
    )
    sign.add_argument("--grant", metavar="NAME", help="the permission, as the policy names it")
    sign.add_argument("--tenant", metavar="ID", help="the tenant in whose events it counts")
    sign.add_argument("--subject", metavar="ID", help="the user for whom it counts; * in a tenant's overlay")
    sign.add_argument("--not-before", metavar="TIME", help=f"its beginning (default: now): {COMING_FORMS}")
    sign.add_argument("--not-after", metavar="TIME", help="its end, in the same forms")
    sign.add_argument("--key", required=True, type=Path, metavar="FILE", help="private key (Ed25519, PEM)")
    sign.add_argument("--key-id", required=True, metavar="ID", help="the key's name in grants.keys")
    sign.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it to a file instead")


def _add_verify(verbs: Subcommands) -> None:
    verify = verbs.add("verify", "grant:verify", "say whether a grant counts under grants.keys, and if not, why")
    verify.add_argument("file", type=Path, metavar="FILE", help="a signed grant (YAML or JSON)")
    verify.add_argument("--tenant", metavar="ID", help="in an event of this tenant (default: the grant's)")
    verify.add_argument("--subject", metavar="ID", help="for this user (default: the grant's)")
    verify.add_argument("--at", metavar="TIME", default="0s", help=f"at this time (default: now): {COMING_FORMS}")
