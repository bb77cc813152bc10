"""`sluicegate schema`: the JSON Schemas and the AsyncAPI document, made from the structs."""

import argparse
import sys
from pathlib import PurePath

from topology.reference import schema
from workers.process.exit_codes import ExitCode
from workers.settings import Settings

SUFFIX = ".json"


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """List the names, print one document, or write all of them into a directory. 2 for an unknown name."""
    del settings
    if arguments.write is not None:
        if arguments.name:
            print("sluicegate schema: --write writes all documents: give no name with it", file=sys.stderr)
            return ExitCode.WRONG_USE
        return schema.main(["--write", str(arguments.write)])
    documents = {PurePath(name).stem: content for name, content in schema.documents().items()}
    if not arguments.name:
        print("\n".join(documents))
        return 0
    content = documents.get(arguments.name.removesuffix(SUFFIX))
    if content is None:
        print(f"sluicegate schema: no document {arguments.name!r}; there are {', '.join(documents)}", file=sys.stderr)
        return ExitCode.WRONG_USE
    print(content.decode(), end="")
    return 0
