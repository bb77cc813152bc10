"""Every field of a chat completion request: honoured, ignored or refused. `docs/door.md` lists this table."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from workers.door.refusals import Refusal, bad_field


class Treatment(StrEnum):
    """The treatment of a field; `refused` fields may still have a value that changes nothing."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"


class Field(Struct, frozen=True):
    """One documented field. `harmless` are the values of a refused field that ask for nothing; null is always one."""

    name: str
    treatment: Treatment
    text: str
    harmless: tuple[object, ...] = ()


_H, _I, _R = Treatment.HONOURED, Treatment.IGNORED, Treatment.REFUSED

FIELDS: Final = (
    Field("model", _H, "one of `door.models`, else 404; the workers' settings decide which model answers"),
    Field(
        "messages", _H, "up to 256; `system` counts as `developer`; content is a string, or parts of text and images"
    ),
    Field("temperature", _H, "0 to 2"),
    Field("top_p", _H, "above 0, up to 1"),
    Field("max_tokens", _H, "1 to 131,072"),
    Field("max_completion_tokens", _H, "the same; it counts where both are given"),
    Field("seed", _H, "0 to 2⁶³-1"),
    Field("stop", _H, "a string, or up to 4 of at most 128 characters"),
    Field(
        "stream",
        _H,
        "the whole checked answer as server-sent events, or text as it is released (`door.streams`)",
    ),
    Field("stream_options", _H, "`include_usage`"),
    Field("user", _H, "who is asking, at most 256 characters"),
    Field("safety_identifier", _H, "the same; it counts where both are given"),
    Field("metadata", _I, "up to 16 keys of 64 characters with values of 512; not passed on"),
    Field("prompt_cache_key", _I, "a matter of the model's server"),
    Field("prompt_cache_retention", _I, "a matter of the model's server"),
    Field("service_tier", _I, "a matter of the tenant's budget"),
    Field("parallel_tool_calls", _I, "there are no tools"),
    Field("store", _R, "answers are kept by the audit alone", (False,)),
    Field("n", _R, "one answer is given and audited", (1,)),
    Field("logprobs", _R, "what is published is a checked text", (False,)),
    Field("top_logprobs", _R, "what is published is a checked text", (0,)),
    Field("frequency_penalty", _R, "events have no such parameter", (0,)),
    Field("presence_penalty", _R, "events have no such parameter", (0,)),
    Field("logit_bias", _R, "events have no such parameter", ({},)),
    Field("response_format", _R, "answers are text", ({"type": "text"},)),
    Field("modalities", _R, "answers are text", (["text"],)),
    Field("audio", _R, "answers are text"),
    Field("tools", _R, "tool calls are not content that can be checked", ([],)),
    Field("tool_choice", _R, "as `tools`", ("none", "auto")),
    Field("functions", _R, "as `tools`", ([],)),
    Field("function_call", _R, "as `tools`", ("none", "auto")),
    Field("web_search_options", _R, "as `tools`"),
    Field("prediction", _R, "events have no such parameter"),
    Field("reasoning_effort", _R, "events have no such parameter", ("medium",)),
    Field("verbosity", _R, "events have no such parameter", ("medium",)),
)

MESSAGE_FIELDS: Final = (
    Field("role", _H, "`system`, `developer`, `user`, `assistant`"),
    Field("content", _H, "a string, or parts: `text`, `image_url` by reference, `refusal` of the assistant"),
    Field("name", _I, "who of several is speaking"),
    Field("refusal", _H, "of the assistant, where there is no content"),
    Field("audio", _R, "content is text and images"),
    Field("tool_calls", _R, "tool calls are not content that can be checked", ([],)),
    Field("function_call", _R, "tool calls are not content that can be checked"),
    Field("tool_call_id", _R, "tool calls are not content that can be checked"),
    Field("annotations", _I, "notes of an earlier answer", ([],)),
)

CHECK_FIELDS: Final = (
    Field("model", _I, "nothing is generated"),
    Field("messages", _H, "as above: what the answer answers"),
    Field("answer", _H, "the text that is to be judged, or parts"),
    Field("user", _H, "as above"),
    Field("safety_identifier", _H, "as above"),
    Field("metadata", _I, "as above"),
)


def check_fields(given: Mapping[str, object], table: tuple[Field, ...] = FIELDS, where: str = "") -> None:
    """Raise Refusal, naming the field, for the first that is not documented or cannot be honoured."""
    known = {field.name: field for field in table}
    for name, value in given.items():
        field = known.get(name)
        if field is None:
            # The name is the client's text: it is cut, and only told to the client itself.
            raise bad_field(f"{where}{name[:64]}", "this field is not known here", "unknown_parameter")
        if field.treatment is Treatment.REFUSED and value is not None and not _is_harmless(value, field):
            raise _refused(f"{where}{name}", field)


def _is_harmless(value: object, field: Field) -> bool:
    # `True == 1` and `False == 0` in Python, and neither in JSON.
    return any(value == each and isinstance(value, bool) is isinstance(each, bool) for each in field.harmless)


def _refused(param: str, field: Field) -> Refusal:
    return Refusal(400, "unsupported_parameter", f"{param} cannot be honoured: {field.text}", param)


def rows(table: tuple[Field, ...]) -> str:
    """Return a table as Markdown, for the page of the door."""
    lines = ["| field | | meaning |", "|---|---|---|"]
    for field in table:
        spelt = ", ".join(f"`{_spelt(value)}`" for value in field.harmless)
        harmless = f"; passes: {spelt}" if spelt and field.treatment is Treatment.REFUSED else ""
        lines.append(f"| `{field.name}` | {field.treatment.value} | {field.text}{harmless} |")
    return "\n".join(lines) + "\n"


def _spelt(value: object) -> str:
    return msgspec.json.encode(value).decode()


def tables() -> str:
    """Return all tables of the page, one after the other."""
    return "\n".join(map(rows, (FIELDS, MESSAGE_FIELDS, CHECK_FIELDS)))


if __name__ == "__main__":
    sys.stdout.write(tables())
