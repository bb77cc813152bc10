"""`sluicegate policy lint`: check whether a policy loads, and what its author should look at."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from rich.text import Text

from topology.contract.errors import PolicyError
from topology.policy.bundle import PolicyBundle
from topology.policy.lint import RemarkSeverity, lint
from workers.commands.console.terminal import Terminal, printable
from workers.commands.policy.files import bundle_of, overlay_of
from workers.process.exit_codes import ExitCode
from workers.settings import Settings

BROKEN = "error"
STYLES = {BROKEN: "bold red", RemarkSeverity.WARNING.value: "yellow", RemarkSeverity.NOTE.value: "dim"}
LINE_CHARACTERS_MAX = 1000


class Found(Struct, frozen=True, kw_only=True):
    """A finding about one file; `severity` is `error` if the file does not load, else that of a remark."""

    file: Path
    severity: str
    text: str


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the findings; 2 if a file does not load, 1 for warnings, with --strict also for notes.

    Raises WrongUse for a file that cannot be read.
    """
    found = list(_found(arguments, settings))
    terminal = Terminal()
    for each in found:
        line = Text(f"{each.severity:<8}", style=STYLES[each.severity])
        terminal.say(line.append(printable(f"{each.file}: {each.text}", LINE_CHARACTERS_MAX), style="not bold default"))
    counts = Counter(each.severity for each in found)
    terminal.say(", ".join(f"{name}s: {counts[name]}" for name in STYLES))
    if counts[BROKEN]:
        return ExitCode.WRONG_USE
    is_odd = counts[RemarkSeverity.WARNING] or (arguments.strict and counts[RemarkSeverity.NOTE])
    return ExitCode.FAILED if is_odd else ExitCode.DONE


def _found(arguments: argparse.Namespace, settings: Settings) -> Iterator[Found]:
    """Yield the faults of the policy, or its remarks and then the faults of each overlay."""
    try:
        bundle = bundle_of(settings, "FILE", arguments.file)
    except PolicyError as exc:
        yield from _broken(arguments.file, exc)
        return
    for remark in lint(bundle):
        yield Found(file=arguments.file, severity=remark.severity.value, text=f"{remark.path}: {remark.text}")
    for path in arguments.overlay or ():
        yield from _overlay(path, bundle, settings)


def _overlay(path: Path, bundle: PolicyBundle, settings: Settings) -> Iterator[Found]:
    try:
        overlay_of(settings, "--overlay", path, bundle)
    except PolicyError as exc:
        yield from _broken(path, exc)


def _broken(path: Path, error: PolicyError) -> Iterator[Found]:
    return (Found(file=path, severity=BROKEN, text=reason) for reason in error.reasons)
