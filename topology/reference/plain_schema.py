r"""JSON Schemas that every validator takes: no keywords of OpenAPI, no Python in expressions or words.

`msgspec` writes `discriminator`, a bare `$ref` as the root, Python's `\Z`, and the docstrings of our classes.
Validators in strict mode refuse the first, ECMA-262 has no `\Z` (its `$` is the end of the text and nothing
else), generators of code wrap a root that only refers, and a reader in JavaScript knows neither `None` nor our
modules.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

Schema = dict[str, object]

_DEFINITIONS = "#/$defs/"
_PYTHON_END, _END = r"\Z", "$"
TYPE_TEXT = "_"
"""The key of a type's own words, beside those of its fields."""


@cache
def field_texts() -> Mapping[str, Mapping[str, str]]:
    """Return the words for each type and field, by the type's name and then the field's."""
    return tomllib.loads(files("topology.reference").joinpath("fields.toml").read_text(encoding="utf-8"))


def plain_schema(made: Schema) -> Schema:
    """Return the schema with its root spelt out, in keywords of the standard alone, with words for every field."""
    plain = {name: _described(name, _table(_plain(kind))) for name, kind in _table(made["$defs"]).items()}
    name = str(made["$ref"]).removeprefix(_DEFINITIONS)
    root = plain[name]
    if name not in set(_references(plain)):
        del plain[name]
    return {**root, "$defs": dict(sorted(plain.items()))}


def _plain(node: object) -> object:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if key != "discriminator"}
    if "discriminator" in node:
        kept = {("oneOf" if key == "anyOf" else key): value for key, value in kept.items()}
    if isinstance(pattern := kept.get("pattern"), str):
        kept["pattern"] = pattern.replace(_PYTHON_END, _END)
    if "enum" in kept and "properties" not in kept:
        kept = _choice(kept)
    return kept


def _choice(node: Schema) -> Schema:
    """Return an enumeration with its type; one that has a single text is a constant."""
    choices = node["enum"]
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        return node
    rest = {key: value for key, value in node.items() if key != "enum"}
    return {**rest, "type": "string", **({"const": choices[0]} if len(choices) == 1 else {"enum": choices})}


def _described(name: str, kind: Schema) -> Schema:
    texts = field_texts().get(name, {})
    described = {**kind, "description": texts.get(TYPE_TEXT, "")}
    if isinstance(properties := kind.get("properties"), dict):
        described["properties"] = {
            field: {"description": texts.get(field, ""), **_table(value)} for field, value in properties.items()
        }
    return described


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield str(value).removeprefix(_DEFINITIONS)
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _table(node: object) -> Schema:
    assert isinstance(node, dict), "a schema is a table"
    return node
