"""`sluicegate guard calibrate`: choose an encoder's temperatures and thresholds on labelled rows.

The rows must be by authors on whose rows it was not trained. Rewrites `encoder.json` in the encoder's folder.
"""

import argparse
import sys

import msgspec
from msgspec import structs

from serving.evaluation.calibrating import calibrate
from serving.evaluation.reliability import diagram
from serving.guards.encoder.model import DESCRIPTION_FILE, Encoder, description_of, encoder_folder
from topology.policy.loading import packaged_bundle
from workers.commands.console.progress import Progress
from workers.commands.console.usage_error import WrongUse
from workers.commands.guard.assembling import rows_given
from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Calibrate, print what was found, and write it beside the weights. Raises WrongUse, OSError."""
    folder = arguments.encoder or encoder_folder(settings.guard.encoder_path)
    if not (folder / DESCRIPTION_FILE).is_file():
        raise WrongUse("--encoder", str(folder), f"no {DESCRIPTION_FILE} in it")
    description = structs.replace(description_of(folder), temperatures={})
    rows = rows_given(arguments)
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True), "rows read")
    encoder = Encoder(folder, settings.guard.encoder_threads, description)
    found = calibrate(rows, encoder, packaged_bundle(), progress.at)
    for name, each in found.after.items():
        error = found.before[name].error
        print(f"{name}: temperature {found.temperatures.get(name, 1.0):.2f}, error {error:.3f} before")
        print("\n".join(diagram(name, each)))
    for what, (before, after) in found.costs.items():
        print(f"{what}: a row costs {before:.3f} with the thresholds given first, {after:.3f} with those chosen")
    print(msgspec.json.encode(found.thresholds).decode())
    if not arguments.dry_run:
        (folder / DESCRIPTION_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(found.of(description))) + b"\n")
    return 0
