"""The settings as a flat list: dotted key, type, default, meaning, and the allowed values in words."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct, inspect

from workers.settings.secret import Secret


class Leaf(Struct, frozen=True, kw_only=True):
    """One setting. `kind` is msgspec's description of its type, bounds included; `title` says a pattern in words."""

    key: str
    type: object
    kind: inspect.Type
    default: object
    title: str
    description: str
    is_secret: bool


def leaves(kind: type[Struct], prefix: str = "") -> Iterator[Leaf]:
    """Yield every setting under `kind`, in the order of the schema."""
    information = inspect.type_info(kind)
    assert isinstance(information, inspect.StructType)
    described = {field.name: field.type for field in information.fields}
    for field in msgspec.structs.fields(kind):
        key = prefix + field.name
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            yield from leaves(field.type, key + ".")
            continue
        known, description, title = _bare(described[field.name])
        yield Leaf(
            key=key,
            type=field.type,
            kind=known,
            default=field.default if field.default is not msgspec.NODEFAULT else field.default_factory(),
            title=title,
            description=description,
            is_secret=isinstance(known, inspect.CustomType) and known.cls is Secret,
        )


def _bare(kind: inspect.Type) -> tuple[inspect.Type, str, str]:
    """Return the type without its metadata, its description and its title."""
    description = title = ""
    while isinstance(kind, inspect.Metadata):
        found = kind.extra_json_schema or {}
        description = description or str(found.get("description", ""))
        title = title or str(found.get("title", ""))
        kind = kind.type
    return kind, description, title


def allowed(leaf: Leaf) -> str:
    """Describe the allowed values, in words."""
    if leaf.is_secret:
        return f"a string, or {leaf.key}_file with the path of a file"
    return leaf.title or _allowed(leaf.kind)


def _allowed(kind: inspect.Type) -> str:  # noqa: PLR0911 -- one line per kind of type
    kind, _, title = _bare(kind)
    if title:
        return title
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _range(kind)
        case inspect.FloatType():
            return "a number" + _range(kind)
        case inspect.LiteralType():
            return "one of " + ", ".join(f'"{value}"' for value in kind.values)
        case inspect.StrType():
            return "a string" + _string_bounds(kind)
        case inspect.VarTupleType():
            return f"a list{_length(kind)} of {_allowed(kind.item_type)}"
        case inspect.DictType():
            return f"a table{_length(kind)} from {_allowed(kind.key_type)} to {_allowed(kind.value_type)}"
        case inspect.UnionType():
            return " or ".join(_allowed(option) for option in kind.types)
        case _:
            return "nothing"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f" from {kind.ge:g}" if kind.ge is not None else f" above {kind.gt:g}" if kind.gt is not None else ""
    high = f" to {kind.le:g}" if kind.le is not None else ""
    if isinstance(kind, inspect.IntType):
        low = low if kind.ge is None else f" from {kind.ge}"
        high = high if kind.le is None else f" to {kind.le}"
    return low + high


def _string_bounds(kind: inspect.StrType) -> str:
    if kind.pattern is not None:
        return f" like `{kind.pattern}`"
    if kind.min_length:
        return f" of {kind.min_length} to {kind.max_length} characters"
    return f" of at most {kind.max_length} characters" if kind.max_length is not None else ""


def _length(kind: inspect.VarTupleType | inspect.DictType) -> str:
    if kind.max_length is None:
        return ""
    return f" of {kind.min_length or 0} to {kind.max_length}"


def parsed_text(text: str, leaf: Leaf) -> object:
    """Convert a text to what TOML would give: lists split at commas, tables at `key=value`."""
    kind = leaf.kind
    if isinstance(kind, inspect.UnionType):
        if not text:
            return None
        kind = next(option for option in kind.types if not isinstance(option, inspect.NoneType))
    if isinstance(kind, inspect.VarTupleType):
        return [item.strip() for item in text.split(",") if item.strip()]
    if isinstance(kind, inspect.DictType):
        pairs = (item.partition("=") for item in text.split(",") if item.strip())
        return {name.strip(): value.strip() for name, _, value in pairs}
    return text
