"""A command that writes the chart's generated parts: `settings` in values.schema.json, the README's table of values.

`python helm/generate.py` writes both; with `--check` its exit status says whether they are current.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

from workers.settings import Settings
from workers.settings.keys import leaves

CHART = Path(__file__).resolve().parent / "sluicegate"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"

Schema = dict[str, Any]


def settings_schema() -> Schema:
    """Return the worker's settings as a closed JSON Schema, in which a secret is given by a file only."""
    root = _closed("Further settings of the worker, as in docs/settings.md; one with a value of its own is refused.")
    for leaf in leaves(Settings):
        *sections, name = leaf.key.split(".")
        table = root
        for section in sections:
            table = table["properties"].setdefault(section, _closed())
        if leaf.is_secret:
            table["properties"][f"{name}_file"] = {"type": "string", "description": f"File with: {leaf.description}"}
        else:
            table["properties"][name] = msgspec.json.schema(leaf.type) | {"description": leaf.description}
    return root


def _closed(description: str = "") -> Schema:
    described = {"description": description} if description else {}
    return {"type": "object", **described, "additionalProperties": False, "properties": {}}


def schema_text() -> str:
    """Return values.schema.json with the present settings."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["settings"] = settings_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def readme_text(schema: Schema) -> str:
    """Return the chart's README with the table of values between its two marks."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for path, default, description in _rows(schema, schema, values, ""):
        shown = json.dumps(default, ensure_ascii=False).replace("|", "\\|")
        rows.append(f"| `{path}` | `{shown}` | {description.replace('|', chr(92) + '|')} |")
    return f"{before}{BEGIN}\n\n" + "\n".join(rows) + f"\n\n{END}{after}"


def _rows(root: Schema, schema: Schema, value: object, path: str) -> list[tuple[str, object, str]]:
    """Return one row per value: a table with known properties is walked, an open one is a single row."""
    description = schema.get("description", "")
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        description = description or schema.get("description", "")
    known = schema.get("properties")
    if path == "settings" or not known or not isinstance(value, dict):
        return [(path, value, description)]
    if path == "judge.server":
        return [(path, "as generation.server", description)]
    rows: list[tuple[str, object, str]] = []
    for name, default in value.items():
        rows += _rows(root, known[name], default, f"{path}.{name}" if path else name)
    return rows


def main() -> int:
    """Write what is not current, or with `--check` name it; return 1 if `--check` found something, else 0."""
    is_check = "--check" in sys.argv[1:]
    texts = {SCHEMA: schema_text()}
    texts[README] = readme_text(json.loads(texts[SCHEMA]))
    stale = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'stale' if is_check else 'written'}: {path.name}", file=sys.stderr)
        if not is_check:
            path.write_text(texts[path], encoding="utf-8")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
