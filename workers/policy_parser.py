"""The command line of `sluicegate policy`: verbs and their options. A verb is `workers.commands.policy_<verb>`."""

import argparse
from pathlib import Path
from typing import Protocol


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


def _add_keygen(verbs: Subparsers, common: argparse.ArgumentParser) -> None:
    keygen = verbs.add_parser(
        "keygen", parents=[common], help="make a key to sign policies with; prints its public half"
    )
    keygen.add_argument("file", type=Path, metavar="FILE", help="a new file for the private key, readable by you alone")
