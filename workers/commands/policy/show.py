"""`sluicegate policy show`: a policy as tables, and what a tenant's overlay makes of it."""

import argparse
import sys

import msgspec

from topology.contract.labels import CategoryId
from workers.commands.console.terminal import Terminal
from workers.commands.console.usage_error import WrongUse
from workers.commands.policy.files import bundle_of, overlay_of
from workers.commands.policy.showing import shown
from workers.commands.policy.showing_text import say_shown
from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the policy in a file, or that of the settings. Raises WrongUse."""
    bundle = bundle_of(settings, "FILE", arguments.file)
    names = tuple(CategoryId(name) for name in arguments.category or ())
    for name in names:
        if name not in bundle.categories:
            raise WrongUse("--category", name, f"{bundle.ref} has {', '.join(bundle.categories)}")
    overlay = None if arguments.tenant is None else overlay_of(settings, "--tenant", arguments.tenant, bundle)
    found = shown(bundle, names, overlay)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        say_shown(Terminal(), found)
    return 0
