"""`sluicegate policy diff`: what two policies differ in, and whether the version says so."""

import argparse
import sys

import msgspec

from workers.commands.console.terminal import Terminal
from workers.commands.policy.comparing import compared
from workers.commands.policy.comparing_text import say_compared
from workers.commands.policy.files import bundle_of
from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Compare and show. With --exit-code 1 where anything differs. Raises WrongUse."""
    old, new = (bundle_of(settings, option, getattr(arguments, option.lower())) for option in ("OLD", "NEW"))
    found = compared(old, new)
    if arguments.json:
        shown = {**msgspec.to_builtins(found), "is_version_fit": found.is_version_fit}
        sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
    else:
        say_compared(Terminal(), found)
    return 1 if arguments.exit_code and found.is_different else 0
