"""Commands and verbs on the command line: name, help, options, and the function that runs each."""

import argparse
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Literal, cast

from workers.settings import Settings

ROOM = "workers.commands"

Command = Callable[[argparse.Namespace, Settings], int]
"""A function that runs a command and returns its exit status."""


class Subcommands:
    """The commands of a parser, or the verbs of a command. Each also takes the options of `common`."""

    def __init__(
        self, parser: argparse.ArgumentParser, level: Literal["command", "verb"], common: argparse.ArgumentParser
    ) -> None:
        self._subparsers = parser.add_subparsers(dest=level, metavar=level.upper())
        parser.set_defaults(incomplete=parser)
        self._common = common

    def add(self, name: str, runs: str, text: str, *also: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Add a command with the help `text` and the options of `also`.

        `runs` is its module in `workers.commands`, imported once the command was chosen; `module:function` where the
        function is not `execute`.
        """
        parser = self._subparsers.add_parser(name, parents=[self._common, *also], help=text)
        module, _, function = runs.partition(":")
        parser.set_defaults(runs=f"{ROOM}.{module}:{function or 'execute'}")
        return parser

    def group(self, name: str, text: str) -> "Subcommands":
        """Add a command that has verbs, and return them."""
        return Subcommands(self._subparsers.add_parser(name, parents=[self._common], help=text), "verb", self._common)


def help_wanted(arguments: argparse.Namespace) -> argparse.ArgumentParser | None:
    """Return the parser whose help says how to go on, where no command or verb was given; None where one was."""
    return None if "runs" in arguments else arguments.incomplete


def command_of(arguments: argparse.Namespace) -> Command:
    """Import the function that runs the chosen command."""
    return cast("Command", resolve_name(arguments.runs))


def title_of(arguments: argparse.Namespace) -> str:
    """Return the command as it was typed, with its verb if it has one: `policy diff`."""
    return " ".join(filter(None, (arguments.command, getattr(arguments, "verb", ""))))
