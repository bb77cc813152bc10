"""The checked-in schemas are current, accept what we make, refuse what we refuse; the contract names everything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given

from tests.checkout import ROOT
from tests.effort import examples
from tests.topology.contract.contract_samples import SAMPLES
from tests.topology.contract.contract_strategies import EVENTS
from topology.contract.codec import encode
from topology.contract.errors import DeadLetterReason
from topology.contract.events import ConversationEvent
from topology.contract.names import Header, SchemaName, Topic
from topology.reference.schema import TYPES, documents, json_schema, main, stale_documents

GOLDEN = ROOT / "tests" / "topology" / "contract" / "golden" / "v1"
CONTRACT = (ROOT / "docs" / "contract.md").read_text()


def _validator(name: SchemaName) -> Any:
    schema = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


EVENT = _validator(SchemaName.CONVERSATION_EVENT)


def test_checked_in_documents_are_current() -> None:
    """Otherwise: python -m topology.reference.schema --write schemas"""
    assert stale_documents(ROOT / "schemas") == []


def test_check_names_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--write", str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "audit-record.json").write_text("{}")
    (tmp_path / "review-item.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    assert main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().out.split() == [
        word for name in ("audit-record", "old", "review-item") for word in (f"{name}.json:", "out", "of", "date")
    ]


@pytest.mark.parametrize("sample", sorted(SAMPLES))
def test_samples_and_golden_files_are_valid(sample: str) -> None:
    validator = _validator(SchemaName(sample.partition(".")[0]))
    validator.validate(json.loads(encode(SAMPLES[sample])))
    validator.validate(json.loads((GOLDEN / f"{sample}.json").read_text()))


@given(EVENTS)
@examples(100)
def test_every_event_we_can_write_is_valid(event: ConversationEvent) -> None:
    EVENT.validate(json.loads(encode(event)))


@pytest.mark.parametrize(
    "changed",
    [
        {"event_id": ""},
        {"event_id": 5},
        {"tenant_id": "t" * 129},
        {"messages": []},
        {"messages": [{"role": "boss", "parts": [{"type": "text", "text": ""}]}]},
        {"messages": [{"role": "user", "parts": []}]},
        {"messages": [{"role": "user", "parts": [{"type": "image", "reference": "r", "sha256": "XY"}]}]},
        {"messages": [{"role": "user", "parts": [{"type": "image", "reference": "r", "sha256": f"{'a' * 64}b"}]}]},
        {"generation": {"temperature": 3}},
        {"user": {"age_band": "old"}},
        {"deadline_ms": -1},
    ],
)
def test_what_the_codec_refuses_the_schema_refuses(changed: dict[str, object]) -> None:
    value = {**json.loads(encode(SAMPLES["conversation-event.minimal"])), **changed}
    with pytest.raises(jsonschema.ValidationError):
        EVENT.validate(value)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, ConversationEvent)


@pytest.fixture(scope="module")
def asyncapi() -> dict[str, Any]:
    return json.loads(documents()["asyncapi.json"])


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_asyncapi_refers_to_what_exists(asyncapi: dict[str, Any]) -> None:
    for reference in _references(asyncapi):
        if reference.startswith("./"):
            assert (ROOT / "schemas" / reference).is_file()
            continue
        node: Any = asyncapi
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_asyncapi_has_every_topic_header_and_schema(asyncapi: dict[str, Any]) -> None:
    assert asyncapi["asyncapi"] == "3.0.0"
    assert {channel["address"] for channel in asyncapi["channels"].values()} == {topic.value for topic in Topic}
    messages = asyncapi["components"]["messages"]
    assert messages.keys() == {name.value for name in SchemaName} | {"policy-publication", "dead-letter"}
    assert all(channel["messages"] for channel in asyncapi["channels"].values())
    named = {name for message in messages.values() for name in message["headers"]["properties"]}
    assert named == {header.value for header in Header}
    for message in messages.values():
        assert set(message["headers"]["required"]) <= message["headers"]["properties"].keys()
        assert message["bindings"]["kafka"]["key"]["type"] == "string"


def test_asyncapi_operations_are_ours(asyncapi: dict[str, Any]) -> None:
    operations = asyncapi["operations"]
    assert {name: operation["action"] for name, operation in operations.items()} == {
        "receiveEvents": "receive",
        "receiveCancel": "receive",
        "sendAudited": "send",
        "sendAudit": "send",
        "sendReview": "send",
        "sendCanary": "send",
        "sendState": "send",
        "receiveState": "receive",
        "sendUsage": "send",
        "receiveUsage": "receive",
        "sendStream": "send",
        "receiveStream": "receive",
        "receivePolicy": "receive",
        "sendDeadLetters": "send",
    }
    for server in asyncapi["servers"].values():
        assert server["protocol"] in {"kafka", "kafka-secure"}
        assert server["host"]


def _structs(name: SchemaName) -> Iterator[tuple[str, str]]:
    schema: Any = json_schema(name)
    for struct, definition in {schema["title"]: schema, **schema["$defs"]}.items():
        for field in definition.get("properties", {}):
            yield struct, field


def test_the_contract_names_every_field() -> None:
    missing = {
        f"{struct}.{field}"
        for name in TYPES
        for struct, field in _structs(name)
        if f"`{field}`" not in _section(struct)
    }
    assert missing == set()


def _section(struct: str) -> str:
    _, found, rest = CONTRACT.partition(f"### {struct}\n")
    assert found, f"docs/contract.md has no section on {struct}"
    return rest.partition("\n### ")[0].partition("\n## ")[0]


def test_the_contract_names_every_header_reason_and_topic() -> None:
    for names in (Header, DeadLetterReason, Topic, SchemaName):
        assert [name.value for name in names if f"`{name.value}" not in CONTRACT] == []
