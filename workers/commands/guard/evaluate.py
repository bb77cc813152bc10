"""`sluicegate guard evaluate`: measure the guards of the settings on labelled rows, per language.

Prints shares with their intervals and counts, never a row's text.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import msgspec

from serving.evaluation.evaluation import Evaluation, Report, SpansOf, markdown
from serving.evaluation.rows import Row
from serving.guards.encoder.heads import Kind
from serving.guards.encoder.model import Encoder
from serving.guards.encoder.texts import Given
from workers.commands.console.progress import Progress
from workers.commands.guard.assembling import Assembly, rows_given
from workers.commands.policy.files import bundle_of
from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Measure, and print the tables; write them as JSON if asked to. Raises WrongUse, PolicyError."""
    rows = rows_given(arguments)
    report = asyncio.run(evaluated(settings, rows, arguments.noisy, has_prefixes=arguments.prefixes))
    sys.stdout.write("\n".join(markdown(report)) + "\n")
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.encode(report))
    return 0


async def evaluated(
    settings: Settings, rows: Sequence[Row], noise_seed: int | None, *, has_prefixes: bool = False
) -> Report:
    """Return the figures of the guards that settings ask for."""
    assembly = Assembly(settings, bundle_of(settings, "FILE", None))
    evaluation = Evaluation(
        assembly.guards, spans_of(assembly.encoder), noise_seed=noise_seed, has_prefixes=has_prefixes
    )
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True), "rows")
    try:
        for number, row in enumerate(rows, 1):
            await evaluation.add(row)
            progress.at(number, len(rows))
    finally:
        await assembly.aclose()
    return evaluation.report()


def spans_of(encoder: Encoder | None) -> SpansOf | None:
    """Return the function that marks orders in a document, if there is an encoder."""
    if encoder is None:
        return None
    return lambda text: encoder.read([Given(kind=Kind.DOCUMENT, text=text)])[0].spans
