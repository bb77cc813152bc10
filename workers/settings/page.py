"""The page `docs/settings.md`, generated from the schema so that it is always current."""

import inspect

import msgspec

from workers.settings.events import StagesSettings
from workers.settings.keys import Leaf, allowed, leaves
from workers.settings.schema import Settings
from workers.settings.secret import Secret

_INTRODUCTION = """\
# Settings

<!-- Generated: python -m workers.settings --markdown > docs/settings.md -->

Settings come from a TOML file and from the environment. In order of precedence, strongest first:

1. a variable `SLUICEGATE_<SECTION>__<FIELD>`, such as `SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=a:9092,b:9092`;
   lists are split at commas, tables are written `key=value,key=value`;
2. the file;
3. `KAFKA_BOOTSTRAP_SERVERS`, and OpenTelemetry's own `OTEL_*` for endpoint, protocol, headers, timeout, service name,
   resource and sampler; one that says what cannot be done here is refused by name;
4. the default.

A secret can also be read from a file: `kafka.sasl_password_file = "/run/secrets/kafka"`, or the variable
`SLUICEGATE_KAFKA__SASL_PASSWORD_FILE`. Wherever settings are shown, secrets appear as `***`.
Actors get the place of a secret instead of its value, and read it for themselves, so each node on which they run needs
the same files, variables or settings file.
An unknown key is an error that names the nearest known one. All problems are reported at once, before anything starts.
Units stand last in the name: `_s` seconds, `_ms` milliseconds, `_bytes` bytes.
[telemetry.md](telemetry.md) describes what the section `telemetry` switches on and off.
"""


def markdown() -> str:
    """Return the whole page, with one table per section."""
    parts = [_INTRODUCTION]
    for section in msgspec.structs.fields(Settings):
        assert isinstance(section.type, type)
        assert issubclass(section.type, msgspec.Struct)
        parts.append(f"## {section.name}\n\n{inspect.getdoc(section.type)}\n")
        parts.append(_table(section.name, section.type))
    return "\n".join(parts)


def _table(name: str, kind: type[msgspec.Struct]) -> str:
    if kind is StagesSettings:
        stages = ", ".join(f"`stages.{field.name}`" for field in msgspec.structs.fields(StagesSettings))
        rows = [leaf for leaf in leaves(kind, "stages.") if leaf.key.startswith("stages.classification.")]
        lead = f"Each of {stages} has these settings, with the same defaults.\n\n"
        return lead + _rows([(leaf, leaf.key.replace("classification", "<stage>")) for leaf in rows])
    return _rows([(leaf, leaf.key) for leaf in leaves(kind, name + ".")])


def _rows(rows: list[tuple[Leaf, str]]) -> str:
    lines = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    for leaf, key in rows:
        limits = "a string, or a file by `_file`" if leaf.is_secret else allowed(leaf)
        cells = (f"`{key}`", _default(leaf.default), limits.replace("|", "\\|"), leaf.description)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if isinstance(value, Secret) or value is None:
        return "not set"
    return f"`{msgspec.json.encode(value).decode()}`"
