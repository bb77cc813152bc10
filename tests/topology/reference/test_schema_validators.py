"""The schemas as others use them: strict validators accept them, generators make types from them that compile."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.checkout import ROOT
from topology.reference.plain_schema import TYPE_TEXT, field_texts, plain_schema
from topology.reference.schema import documents

SCHEMAS = ROOT / "schemas"
GOLDEN = ROOT / "tests" / "topology" / "contract" / "golden" / "v1"
VALIDATORS = ROOT / "tests" / "data" / "validators"
MADE = {name: json.loads(made) for name, made in documents().items() if name != "asyncapi.json"}
TOOL_SECONDS_MAX = 300

KEYWORDS = frozenset(
    {"$defs", "$id", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default", "description", "enum"}
    | {"exclusiveMinimum", "items", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "oneOf"}
    | {"pattern", "prefixItems", "properties", "propertyNames", "required", "title", "type"}
)
"""The keywords that the schemas use; each is of JSON Schema 2020-12."""


def _nodes(node: Any, *, is_schema: bool = True) -> Iterator[dict[str, Any]]:
    """Every schema within a schema; the tables of properties and definitions are none themselves."""
    if isinstance(node, list):
        for item in node:
            yield from _nodes(item)
    if not isinstance(node, dict):
        return
    if is_schema:
        yield node
    for key, value in node.items():
        if not is_schema or key not in {"default", "enum", "const", "required"}:
            yield from _nodes(value, is_schema=not (is_schema and key in {"properties", "$defs"}))


def _types(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {schema["title"]: schema, **schema["$defs"]}


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_schema_has_keywords_of_the_standard_alone_and_a_root_of_its_own(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(MADE[name])
    assert {key for node in _nodes(MADE[name]) for key in node} <= KEYWORDS
    assert MADE[name]["type"] == "object"


@pytest.mark.parametrize("name", sorted(MADE))
def test_every_type_and_field_is_described_in_words_for_any_language(name: str) -> None:
    for kind, schema in _types(MADE[name]).items():
        told = {kind: schema["description"]}
        told |= {f"{kind}.{field}": each["description"] for field, each in schema.get("properties", {}).items()}
        assert [field for field, words in told.items() if not words.endswith((".", "`"))] == []
        spoken = re.compile(r"\bNone\b|\b(is|are|be) True\b|`(topology|serving|workers)\.|\bstructs?\b|\bstr\b|\n")
        assert [field for field, words in told.items() if spoken.search(words)] == []


def test_words_are_there_for_what_exists_and_nothing_else() -> None:
    known: dict[str, set[str]] = {}
    for schema in MADE.values():
        for kind, each in _types(schema).items():
            known.setdefault(kind, set()).update(each.get("properties", {}))
    assert {kind: set(texts) - {TYPE_TEXT} for kind, texts in field_texts().items()} == known


def test_a_choice_of_tagged_types_is_told_apart_by_constants() -> None:
    part = MADE["conversation-event.json"]["$defs"]["Message"]["properties"]["parts"]["items"]
    kinds = [each["$ref"].rpartition("/")[2] for each in part["oneOf"]]
    definitions = MADE["conversation-event.json"]["$defs"]
    assert [definitions[kind]["properties"]["type"]["const"] for kind in kinds] == ["text", "image", "code"]


def test_a_root_that_others_refer_to_stays_among_the_definitions() -> None:
    tree = {"title": "Tree", "type": "object", "properties": {"next": {"$ref": "#/$defs/Tree"}}}
    made = plain_schema({"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}})
    assert made["title"] == "Tree"
    assert set(made["$defs"]) == {"Tree"}  # pyright: ignore[reportArgumentType]


# ECMA-262 with the flag `u`: an escape of a letter that has no meaning there is an error, and so is any other group.
_ECMA_ESCAPE = re.compile(r"\\(?![dDsSwWbBfnrtv0^$\\.*+?()\[\]{}|/-]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})")
_ECMA_GROUP = re.compile(r"\(\?(?![:=!])")


def test_regular_expressions_are_those_of_ecma() -> None:
    patterns = {node["pattern"] for made in MADE.values() for node in _nodes(made) if "pattern" in node}
    assert len(patterns) >= 5
    assert [each for each in patterns if _ECMA_ESCAPE.search(each) or _ECMA_GROUP.search(each)] == []
    assert all(each.startswith("^") and each.endswith("$") for each in patterns)


def _run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, check=False, capture_output=True, text=True, timeout=TOOL_SECONDS_MAX
    )
    assert done.returncode == 0, f"{command[0]}: {(done.stdout + done.stderr)[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs of package-lock.json, installed by their hashes."""
    folder = tmp_path_factory.mktemp("validators")
    for each in VALIDATORS.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    return folder


@pytest.mark.slow
@pytest.mark.install
def test_ajv_accepts_schemas_and_samples_in_strict_mode(node: Path) -> None:
    said = _run("node", node / "strict.cjs", SCHEMAS, GOLDEN)
    samples = list(GOLDEN.glob("*.json"))
    assert said.splitlines()[-1] == f"{len(MADE)} schemas, {len(samples)} samples, 0 refused"


@pytest.mark.slow
@pytest.mark.install
def test_the_asyncapi_document_is_read_by_its_own_parser(node: Path) -> None:
    assert _run("node", node / "asyncapi.cjs", SCHEMAS / "asyncapi.json").splitlines()[-1] == "11 channels, 0 empty"


@pytest.mark.slow
@pytest.mark.install
def test_types_for_typescript_compile(node: Path) -> None:
    made = [node / f"{Path(name).stem}.ts" for name in MADE]
    for path in made:
        _run(
            node / "node_modules/.bin/quicktype", "-s", "schema", "-l", "ts", SCHEMAS / f"{path.stem}.json", "-o", path
        )
    _run(
        node / "node_modules/.bin/tsc", "--noEmit", "--strict", "--target", "es2022", "--skipLibCheck", *made, cwd=node
    )
    assert "export interface ConversationEvent " in (node / "conversation-event.ts").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.install
def test_types_for_python_load_and_take_the_samples(tmp_path: Path) -> None:
    _run("sh", ROOT / "requirements" / "tool.sh", "types")
    tool = ROOT / "var" / "tools" / "types" / "bin"
    for name in MADE:
        module = tmp_path / f"{Path(name).stem.replace('-', '_')}.py"
        options = ("--input-file-type", "jsonschema", "--output-model-type", "pydantic_v2.BaseModel")
        _run(tool / "datamodel-codegen", "--input", SCHEMAS / name, *options, "--output", module)
        kind = MADE[name]["title"]
        program = (
            "import importlib, pathlib, sys; kind = getattr(importlib.import_module(sys.argv[1]), sys.argv[2]); "
            "[kind.model_validate_json(pathlib.Path(each).read_bytes()) for each in sys.argv[3:]]"
        )
        samples = sorted(GOLDEN.glob(f"{Path(name).stem}.*.json"))
        _run(tool / "python", "-c", program, module.stem, kind, *samples, cwd=tmp_path)
