"""Loading: settings from a TOML file and the environment become frozen structs, or every problem is reported at once.

Precedence, strongest first: `SLUICEGATE_<SECTION>__<FIELD>`, the file, the fallback variables, the default.
A secret may also be given as the path of a file: `<field>_file`, or `SLUICEGATE_<SECTION>__<FIELD>_FILE`.
A variable of that prefix that no setting has is an error, but for those that Kubernetes adds for a Service.
"""

import difflib
import math
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.inspect import IntType, VarTupleType

from topology.contract.errors import SettingsError
from workers.settings.combinations import cross_problems
from workers.settings.keys import Leaf, allowed, leaves, parsed_text
from workers.settings.otel import bare_url, otel_values
from workers.settings.page import markdown
from workers.settings.schema import Settings
from workers.settings.secret import MASK, Secret, SecretSource, SourceKind, read_secret_file
from workers.settings.words import in_words

ENVIRONMENT_PREFIX = "SLUICEGATE_"
NO_SETTINGS = {"SLUICEGATE_CACHE", "SLUICEGATE_TESTS", "SLUICEGATE_CI_RUN"}
"""Variables of ours that are read elsewhere."""
OF_KUBERNETES = re.compile(r"SLUICEGATE(_\w+)?_(SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=.*|PORT_\d+_\w+=.*|PORT=\w+://.*)")
"""The variables, with their values, that Kubernetes adds to every container for each Service named `sluicegate…`."""
FALLBACKS = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.bootstrap_servers"}
"""Variables of other programs with one meaning; those of OpenTelemetry are in `otel.py`."""
FILE_SUFFIX = "_file"
TOML_PLACE = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column \d+\)", re.DOTALL)
"""A message of `tomllib` about a place in a file."""
SHOWN_CHARACTERS_MAX = 80


_S = TypeVar("_S", bound=Struct)


class InvalidSettings(SettingsError):
    """All problems with the settings. `args` is the tuple of them, at least one."""

    def __init__(self, *problems: SettingsError) -> None:
        super().__init__(problems[0].key, problems[0].shown, problems[0].allowed)
        self.args = problems
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class _Given(Struct, frozen=True):
    """A value before it is checked. `origin` names its file or variable; `is_text` is true for a variable's."""

    value: object
    origin: str
    is_text: bool = True


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Load the settings in force; `path` None means no file.

    Raises InvalidSettings with every problem of the file, the environment, single values and combinations of them.
    No message contains a secret or the value of an unknown key.
    """
    known = {leaf.key: leaf for leaf in leaves(Settings)}
    problems: list[SettingsError] = []
    given = _from_file(path, known, problems)
    _override(given, _from_environment(environ, known, problems), known)
    given = {**_from_fallbacks(environ, given, problems), **given}
    values = _converted(given, known, problems)
    settings = _build(Settings, "", values)
    bad = {problem.key for problem in problems}
    problems.extend(problem for keys, problem in cross_problems(settings) if not bad.intersection(keys))
    if problems:
        raise InvalidSettings(*problems)
    return settings


def show(settings: Settings) -> str:
    """Return all settings as TOML, with secrets masked. If none is set, the text loads to the same settings."""
    lines: list[str] = []
    section = None
    for leaf in leaves(Settings):
        table, _, name = leaf.key.rpartition(".")
        if table != section:
            lines += [f"[{table}]"] if section is None else ["", f"[{table}]"]
            section = table
        value = _value_at(settings, leaf.key)
        line = f"{name} = {_toml(value)}"
        lines.append(f"# {name} is not set" if value is None else line)
    return "\n".join(lines) + "\n"


def _from_fallbacks(
    environ: Mapping[str, str], stronger: Mapping[str, _Given], problems: list[SettingsError]
) -> dict[str, _Given]:
    """Return what other programs' variables say of settings that nothing stronger gives a value to."""
    found = {key: _Given(environ[name], name) for name, key in FALLBACKS.items() if environ.get(name)}
    for item in otel_values(environ):
        if item.key in stronger or item.key + FILE_SUFFIX in stronger:
            continue
        if item.problem:
            problems.append(item.error())
        else:
            found[item.key] = _Given(item.value, item.origin)
    return found


def _from_file(path: Path | None, known: Mapping[str, Leaf], problems: list[SettingsError]) -> dict[str, _Given]:
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        problems.append(_unreadable(path, exc))
        return {}
    found: dict[str, _Given] = {}
    sections = {key.rsplit(".", depth)[0] for key in known for depth in range(1, key.count(".") + 1)}
    for key, value in _flatten(table, "", sections):
        if key in sections:
            problems.append(SettingsError(key, _shown(value), "a table of settings"))
        elif _target(key, known) is None:
            problems.append(_unknown(key, known, sections))
        else:
            found[key] = _Given(value, str(path), is_text=False)
    return found


def _unreadable(path: Path, error: OSError | ValueError) -> SettingsError:
    """Return the problem of a settings file that cannot be read, with the line that is no TOML."""
    if isinstance(error, OSError):
        return SettingsError(str(path), "", error.strerror or type(error).__name__)
    if not isinstance(error, tomllib.TOMLDecodeError):
        return SettingsError(str(path), "", "not UTF-8")
    said = TOML_PLACE.fullmatch(str(error))
    if said is None:
        return SettingsError(str(path), "", f"no TOML: {error}")
    return SettingsError(f"{path}, line {said['line']}", "", said["what"])


def _flatten(table: Mapping[str, object], prefix: str, sections: set[str]) -> Iterator[tuple[str, object]]:
    """Yield dotted keys and values; a table that is not a section is a value (`grants.keys`)."""
    for name, value in table.items():
        key = prefix + name
        if isinstance(value, dict) and key in sections:
            yield from _flatten(value, key + ".", sections)
        else:
            yield key, value


def _from_environment(
    environ: Mapping[str, str], known: Mapping[str, Leaf], problems: list[SettingsError]
) -> dict[str, _Given]:
    found: dict[str, _Given] = {}
    for name in sorted(environ):
        if (
            not name.startswith(ENVIRONMENT_PREFIX)
            or name in NO_SETTINGS
            or OF_KUBERNETES.fullmatch(f"{name}={environ[name]}")
        ):
            continue
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
        if _target(key, known) is None:
            problems.append(_unknown_variable(name, known))
        else:
            found[key] = _Given(environ[name], name)
    return found


def _override(given: dict[str, _Given], stronger: Mapping[str, _Given], known: Mapping[str, Leaf]) -> None:
    """Replace values by those of `stronger`; a secret also replaces the same secret given by file, and vice versa."""
    for key in stronger:
        leaf = _target(key, known)
        assert leaf is not None
        given.pop(leaf.key, None)
        given.pop(leaf.key + FILE_SUFFIX, None)
    given.update(stronger)


def _target(key: str, known: Mapping[str, Leaf]) -> Leaf | None:
    """Return the setting that `key` gives a value to, directly or by file; None if there is none."""
    if (leaf := known.get(key)) is not None:
        return leaf
    leaf = known.get(key.removesuffix(FILE_SUFFIX))
    return leaf if leaf is not None and leaf.is_secret else None


def _unknown(key: str, known: Mapping[str, Leaf], sections: Iterable[str]) -> SettingsError:
    """Return the problem of a key that no setting has; where its section is unknown, of the section."""
    section, _, name = key.partition(".")
    if section in sections:
        return SettingsError(key, "", f"no such setting; did you mean {_nearest(key, known)}?")
    if not name and (places := [each for each in known if each.rpartition(".")[2] == section]):
        return SettingsError(section, "", f"no setting stands outside a section; did you mean {' or '.join(places)}?")
    if near := difflib.get_close_matches(section, list(sections), n=1):
        return SettingsError(f"[{section}]", "", f"no such section; did you mean [{near[0]}]?")
    return SettingsError(f"[{section}]", "", f"no such section; there are {', '.join(sorted(sections))}")


def _unknown_variable(name: str, known: Mapping[str, Leaf]) -> SettingsError:
    variables = [ENVIRONMENT_PREFIX + key.upper().replace(".", "__") for key in known]
    nearest = _nearest(name, variables)
    hint = " (two underscores after the section)" if nearest.replace("__", "_") == name.replace("__", "_") else ""
    return SettingsError(name, "", f"no such setting; did you mean {nearest}{hint}?")


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def _converted(
    given: Mapping[str, _Given], known: Mapping[str, Leaf], problems: list[SettingsError]
) -> dict[str, object]:
    """Return the valid values by key, and append a problem for each of the others."""
    values: dict[str, object] = {}
    for key, item in given.items():
        leaf = _target(key, known)
        assert leaf is not None
        by_file = key != leaf.key
        if by_file and leaf.key in given:
            problems.append(SettingsError(key, MASK, f"only one of {leaf.key} and {key}"))
            continue
        try:
            raw = _read_secret(item.value) if by_file else item.value
            value = _convert(raw, leaf, is_text=item.is_text)
            values[leaf.key] = _with_source(value, item, leaf, by_file=by_file) if isinstance(value, Secret) else value
        except (msgspec.ValidationError, OSError, ValueError):
            wanted = "a readable UTF-8 file of at most 64 KiB" if by_file else allowed(leaf)
            shown = MASK if leaf.is_secret and not by_file else _shown(item.value)
            if not leaf.is_secret and MASK not in shown and (words := in_words(leaf.key, item.value)):
                shown, wanted = "", words
            problems.append(SettingsError(key, shown, f"{wanted} (from {item.origin})"))
    return values


def _convert(raw: object, leaf: Leaf, *, is_text: bool) -> object:
    """Convert `raw` to the setting's type; a text that stands for a list or comes from the environment is parsed first.

    Raises ValidationError.
    """
    if isinstance(raw, str) and (is_text or isinstance(leaf.kind, VarTupleType)):
        raw = parsed_text(raw, leaf)
    if leaf.key == "telemetry.endpoint" and isinstance(raw, str):
        raw = bare_url(raw)
    if isinstance(raw, float) and not math.isfinite(raw):
        raise msgspec.ValidationError("not a finite number")
    if isinstance(raw, float) and isinstance(leaf.kind, IntType) and raw.is_integer():
        raw = int(raw)
    return msgspec.convert(raw, leaf.type, strict=not is_text, dec_hook=_decode_secret)


def _decode_secret(kind: type, value: object) -> Secret:
    if kind is not Secret or not isinstance(value, str):
        raise msgspec.ValidationError("not a string")
    return Secret(value)


def _read_secret(path: object) -> str:
    """Return the file's text without its last line break. Raises ValidationError, OSError, ValueError."""
    if not isinstance(path, str):
        raise msgspec.ValidationError("not a path")
    return read_secret_file(Path(path))


def _with_source(secret: Secret, item: _Given, leaf: Leaf, *, by_file: bool) -> Secret:
    """Return a secret that other processes can read again; an empty one needs no source.

    A variable counts only if it is one of this process's own environment, which its children inherit.
    """
    if not secret:
        return secret
    if by_file:
        source = SecretSource(SourceKind.FILE, str(Path(str(item.value)).absolute()))
    elif not item.is_text:
        source = SecretSource(SourceKind.SETTINGS_FILE, str(Path(item.origin).absolute()), leaf.key)
    elif os.environ.get(item.origin) == secret.reveal():
        source = SecretSource(SourceKind.VARIABLE, item.origin)
    else:
        return secret
    return Secret(secret.reveal(), source)


def _build(kind: type[_S], prefix: str, values: Mapping[str, object]) -> _S:
    """Build a struct from `values` by dotted key; missing ones keep their default."""
    arguments: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        key = prefix + field.name
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            arguments[field.name] = _build(field.type, key + ".", values)
        elif key in values:
            arguments[field.name] = values[key]
    return kind(**arguments)


def _value_at(settings: Settings, key: str) -> object:
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _toml(value: object) -> str:
    """Write `value` as TOML, a secret as its mask. JSON strings are valid TOML strings."""
    match value:
        case Secret():
            return msgspec.json.encode(str(value)).decode()
        case dict():
            pairs = (f"{_toml(name)} = {_toml(item)}" for name, item in value.items())
            return "{ " + ", ".join(pairs) + " }" if value else "{}"
        case tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case _:
            return msgspec.json.encode(value).decode()


def _shown(value: object) -> str:
    """Return `value` cut to the length of a message; masked if it looks like a URL with a password."""
    shown = repr(value)
    if "://" in shown and "@" in shown:
        return MASK
    return shown if len(shown) <= SHOWN_CHARACTERS_MAX else shown[:SHOWN_CHARACTERS_MAX] + "…"


def main() -> None:
    """Print `docs/settings.md` (`--markdown`), or the settings in force as TOML."""
    text = markdown() if "--markdown" in sys.argv[1:] else show(load_settings(None, os.environ))
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
