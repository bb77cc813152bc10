"""The JSON Schemas of values on topics and of policy documents, and the AsyncAPI document, made from the structs.

`python -m topology.reference.schema --write schemas` writes them, `--check schemas` lists those that are out of date.
Bounds over several fields, which structs check when they are made, are stated in descriptions only.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from topology.contract.codec import OPTIONAL_OBJECTS
from topology.contract.conversation import ConversationState
from topology.contract.events import AuditedResponse, AuditRecord, ConversationEvent, ReviewItem
from topology.contract.headers import SCHEMA_VERSION
from topology.contract.lineage import Cancellation
from topology.contract.names import SchemaName
from topology.contract.streams import StreamRecord
from topology.contract.tenants import UsageRecord
from topology.policy.budgets import TenantBudget
from topology.policy.bundle import PolicyBundle
from topology.policy.envelopes import Envelope
from topology.policy.overlays import TenantOverlay
from topology.reference.asyncapi import POLICY_PUBLICATION, asyncapi_document
from topology.reference.plain_schema import plain_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID_PREFIX = "urn:sluicegate:schema"

TYPES: Mapping[SchemaName, type[msgspec.Struct]] = {
    SchemaName.CONVERSATION_EVENT: ConversationEvent,
    SchemaName.AUDITED_RESPONSE: AuditedResponse,
    SchemaName.AUDIT_RECORD: AuditRecord,
    SchemaName.REVIEW_ITEM: ReviewItem,
    SchemaName.CONVERSATION_STATE: ConversationState,
    SchemaName.USAGE_RECORD: UsageRecord,
    SchemaName.CANCELLATION: Cancellation,
    SchemaName.STREAM_RECORD: StreamRecord,
}


POLICY_TYPES: Mapping[str, type[msgspec.Struct]] = {
    "policy-bundle": PolicyBundle,
    "tenant-overlay": TenantOverlay,
    "tenant-budget": TenantBudget,
    POLICY_PUBLICATION: Envelope,
}
"""The documents that people write, so that an editor can check them; only the loader checks their references."""


def json_schema(name: SchemaName) -> dict[str, object]:
    """Return the JSON Schema (2020-12) of version 1 of one schema, complete in itself."""
    return _schema(name.value, TYPES[name])


def _schema(name: str, kind: type[msgspec.Struct]) -> dict[str, object]:
    made = msgspec.json.schema(kind)
    if kind is ConversationEvent:
        _allow_null(made["$defs"])
    head = {"$schema": DIALECT, "$id": f"{ID_PREFIX}:{name}:{SCHEMA_VERSION}"}
    return {**head, **plain_schema(made)}


def _allow_null(kinds: dict[str, dict[str, Any]]) -> None:
    """Have optional objects of an event, and each of their fields, be null too, as the decoder takes them."""
    properties = kinds[ConversationEvent.__name__]["properties"]
    for (name,) in OPTIONAL_OBJECTS:
        fields = kinds[str(properties[name]["$ref"]).rpartition("/")[2]]["properties"]
        fields.update({each: _nullable(field) for each, field in fields.items() if "anyOf" not in field})
        properties[name] = _nullable(properties[name])


def _nullable(field: dict[str, Any]) -> dict[str, Any]:
    outside = {name: field[name] for name in ("default", "description") if name in field}
    inside = {name: value for name, value in field.items() if name not in outside}
    return {"anyOf": [inside, {"type": "null"}], **outside}


def documents() -> dict[str, bytes]:
    """Return the bytes of every generated file, by its name."""
    made: dict[str, dict[str, object]] = {f"{name.value}.json": json_schema(name) for name in SchemaName}
    made |= {f"{name}.json": _schema(name, kind) for name, kind in POLICY_TYPES.items()}
    made["asyncapi.json"] = asyncapi_document()
    return {name: (json.dumps(document, indent=2) + "\n").encode() for name, document in made.items()}


def stale_documents(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that differ, are missing, or are no longer made."""
    made = documents()
    found = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    return sorted(name for name in made.keys() | found.keys() if made.get(name) != found.get(name))


def main(arguments: list[str] | None = None) -> int:
    """Write or check the documents; the exit status is 1 where `--check` finds one that is out of date."""
    parser = argparse.ArgumentParser(
        prog="python -m topology.reference.schema", description="Make schemas from the structs."
    )
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
