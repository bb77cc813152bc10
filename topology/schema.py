"""JSON Schemas of what crosses a topic, and the AsyncAPI document, made from the structs.

`python -m topology.schema --write schemas` writes them, `--check schemas` says which are out of date.
Bounds over several fields, which structs check when they are made, are stated in descriptions only.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from topology.asyncapi import asyncapi_document
from topology.conversation import ConversationState
from topology.events import AuditedResponse, AuditRecord, ConversationEvent, ReviewItem
from topology.headers import SCHEMA_VERSION
from topology.names import SchemaName

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID_PREFIX = "urn:sluicegate:schema"

TYPES: Mapping[SchemaName, type[msgspec.Struct]] = {
    SchemaName.CONVERSATION_EVENT: ConversationEvent,
    SchemaName.AUDITED_RESPONSE: AuditedResponse,
    SchemaName.AUDIT_RECORD: AuditRecord,
    SchemaName.REVIEW_ITEM: ReviewItem,
    SchemaName.CONVERSATION_STATE: ConversationState,
}


def json_schema(name: SchemaName) -> dict[str, object]:
    """The JSON Schema (2020-12) of version 1 of one schema, complete in itself."""
    made = msgspec.json.schema(TYPES[name])
    definitions = dict(sorted(made.pop("$defs").items()))
    head = {"$schema": DIALECT, "$id": f"{ID_PREFIX}:{name.value}:{SCHEMA_VERSION}"}
    return {**head, **made, "$defs": definitions}


def documents() -> dict[str, bytes]:
    """Every generated file by name, with its bytes."""
    made: dict[str, dict[str, object]] = {f"{name.value}.json": json_schema(name) for name in SchemaName}
    made["asyncapi.json"] = asyncapi_document()
    return {name: (json.dumps(document, indent=2) + "\n").encode() for name, document in made.items()}


def stale_documents(folder: Path) -> list[str]:
    """What `--write` would change in `folder`: names of files that differ, are missing, or are no longer made."""
    made = documents()
    found = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    return sorted(name for name in made.keys() | found.keys() if made.get(name) != found.get(name))


def main(arguments: list[str] | None = None) -> int:
    """Write or check the documents; the exit status is 1 where `--check` finds one that is out of date."""
    parser = argparse.ArgumentParser(prog="python -m topology.schema", description="Schemas from the structs.")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--write", type=Path, metavar="DIR")
    task.add_argument("--check", type=Path, metavar="DIR")
    asked = parser.parse_args(arguments)
    if asked.check is not None:
        stale = stale_documents(asked.check)
        sys.stdout.writelines(f"{name}: out of date\n" for name in stale)
        return 1 if stale else 0
    asked.write.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (asked.write / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
