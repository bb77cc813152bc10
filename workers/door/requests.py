"""A request of OpenAI's interface as what it asks for: messages and parameters of an event, and the form of the answer.

Whatever is wrong ends in a Refusal that names the field. Nothing here depends on who asks.
"""

from typing import Final, cast

import msgspec
from msgspec import Struct

from topology.contract.events import (
    MESSAGES_MAX,
    PARTS_MAX,
    ContentPart,
    GenerationParameters,
    ImagePart,
    Message,
    Role,
    TextPart,
)
from topology.contract.measures.nesting import is_json_too_deep
from workers.door.fields import CHECK_FIELDS, MESSAGE_FIELDS, check_fields
from workers.door.refusals import Refusal, bad_field

NESTING_DEPTH_MAX: Final = 32
METADATA_KEYS_MAX: Final = 16
METADATA_KEY_CHARACTERS_MAX: Final = 64
METADATA_VALUE_CHARACTERS_MAX: Final = 512
SUBJECT_CHARACTERS_MAX: Final = 256

_ROLES: Final = {
    "system": Role.DEVELOPER,
    "developer": Role.DEVELOPER,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}

Object = dict[str, object]


class Asked(Struct, frozen=True, kw_only=True):
    """What a request asks for. `subject` is empty if it does not say who asks, `answer` unless one is to be judged."""

    messages: tuple[Message, ...]
    generation: GenerationParameters = GenerationParameters()
    model: str = ""
    subject: str = ""
    is_stream: bool = False
    with_usage: bool = False
    answer: tuple[ContentPart, ...] = ()


def completion_asked(body: bytes, models: tuple[str, ...]) -> Asked:
    """Read a chat completion request. Raises Refusal: 404 for a model that is not offered, else 400."""
    given = _object_of(body)
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise bad_field("model", "required, a string")
    if model not in models:
        raise Refusal(404, "model_not_found", "there is no such model here; GET /v1/models lists them", "model")
    check_fields(given)
    _check_metadata(given.get("metadata"))
    is_stream = _flag(given, "stream")
    return Asked(
        messages=_messages(given),
        generation=_generation(given),
        model=model,
        subject=_subject(given),
        is_stream=is_stream,
        with_usage=_with_usage(given.get("stream_options"), is_stream),
    )


def check_asked(body: bytes) -> Asked:
    """Read a request to judge an answer that was made elsewhere. Raises Refusal."""
    given = _object_of(body)
    check_fields(given, CHECK_FIELDS)
    _check_metadata(given.get("metadata"))
    answer = _parts(given.get("answer"), "answer", Role.ASSISTANT)
    return Asked(messages=_messages(given), subject=_subject(given), answer=answer)


def _object_of(body: bytes) -> Object:
    if is_json_too_deep(body, NESTING_DEPTH_MAX):
        raise Refusal(400, "invalid_json", f"the body is nested deeper than {NESTING_DEPTH_MAX}")
    try:
        return msgspec.json.decode(body, type=Object)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    raise Refusal(400, "invalid_json", "the body is not a JSON object")  # outside: the library's text may quote it


def _messages(given: Object) -> tuple[Message, ...]:
    found = given.get("messages")
    if not isinstance(found, list) or not found:
        raise bad_field("messages", "required, a list of at least one message")
    entries = cast("list[object]", found)
    if len(entries) > MESSAGES_MAX:
        raise bad_field("messages", f"{len(entries)} messages, at most {MESSAGES_MAX}")
    return tuple(_message(entry, f"messages[{index}]") for index, entry in enumerate(entries))


def _message(entry: object, where: str) -> Message:
    if not isinstance(entry, dict):
        raise bad_field(where, "an object")
    given = cast("Object", entry)
    stated = given.get("role")
    role = _ROLES.get(stated) if isinstance(stated, str) else None
    if role is None:
        if stated in ("tool", "function"):  # a tuple: what is stated may be a list, which has no hash
            raise bad_field(f"{where}.role", "messages of tools cannot be honoured", "unsupported_value")
        raise bad_field(f"{where}.role", f"one of {', '.join(_ROLES)}")
    check_fields(given, MESSAGE_FIELDS, f"{where}.")
    content = given.get("content")
    if content is None and role is Role.ASSISTANT:
        content = given.get("refusal")
    return Message(role=role, parts=_parts(content, f"{where}.content", role))


def _parts(content: object, where: str, role: Role) -> tuple[ContentPart, ...]:
    if isinstance(content, str):
        return (TextPart(text=content),)
    if not isinstance(content, list) or not content:
        raise bad_field(where, "required, a string or a list of at least one part")
    entries = cast("list[object]", content)
    if len(entries) > PARTS_MAX:
        raise bad_field(where, f"{len(entries)} parts, at most {PARTS_MAX}")
    return tuple(_part(entry, f"{where}[{index}]", role) for index, entry in enumerate(entries))


def _part(entry: object, where: str, role: Role) -> ContentPart:
    if not isinstance(entry, dict):
        raise bad_field(where, "an object")
    given = cast("Object", entry)
    match given.get("type"):
        case "text":
            return TextPart(text=_text(given, "text", where))
        case "refusal" if role is Role.ASSISTANT:
            return TextPart(text=_text(given, "refusal", where))
        case "image_url" if role is Role.USER:
            return _image(given.get("image_url"), f"{where}.image_url")
        case _:
            raise bad_field(f"{where}.type", "a part of this type cannot be honoured here", "unsupported_value")


def _image(found: object, where: str) -> ImagePart:
    if not isinstance(found, dict):
        raise bad_field(where, "an object with a url")
    url = cast("Object", found).get("url")
    if not isinstance(url, str) or not 1 <= len(url) <= 2048 or url.startswith("data:"):
        raise bad_field(f"{where}.url", "a reference of at most 2048 characters; images themselves are not taken")
    return ImagePart(reference=url)


def _text(given: Object, name: str, where: str) -> str:
    text = given.get(name)
    if not isinstance(text, str):
        raise bad_field(f"{where}.{name}", "a string")
    return text


def _generation(given: Object) -> GenerationParameters:
    tokens_name = "max_tokens" if given.get("max_completion_tokens") is None else "max_completion_tokens"
    values = {name: given[name] for name in ("temperature", "top_p", "seed") if given.get(name) is not None}
    names = {name: name for name in values} | {"max_tokens": tokens_name, "stop": "stop"}
    if given.get(tokens_name) is not None:
        values["max_tokens"] = given[tokens_name]
    stop = given.get("stop")
    if stop is not None:
        values["stop"] = [stop] if isinstance(stop, str) else stop
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, GenerationParameters)
        except msgspec.ValidationError:
            wanted = _WANTED[name]
        else:
            continue
        raise bad_field(names[name], wanted)
    return msgspec.convert(values, GenerationParameters)


_WANTED: Final = {
    "temperature": "a number from 0 to 2",
    "top_p": "a number above 0, up to 1",
    "max_tokens": "a whole number from 1 to 131,072",
    "seed": "a whole number from 0 to 2**63-1",
    "stop": "a string, or a list of at most 4, each of at most 128 characters",
}


def _subject(given: Object) -> str:
    for name in ("safety_identifier", "user"):
        value = given.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str) or len(value) > SUBJECT_CHARACTERS_MAX:
            raise bad_field(name, f"a string of at most {SUBJECT_CHARACTERS_MAX} characters")
        return value
    return ""


def _check_metadata(found: object) -> None:
    if found is None:
        return
    wanted = (
        f"at most {METADATA_KEYS_MAX} keys of {METADATA_KEY_CHARACTERS_MAX} characters, "
        f"with strings of {METADATA_VALUE_CHARACTERS_MAX}"
    )
    if not isinstance(found, dict) or len(cast("Object", found)) > METADATA_KEYS_MAX:
        raise bad_field("metadata", wanted)
    for key, value in cast("Object", found).items():
        is_short = isinstance(value, str) and len(value) <= METADATA_VALUE_CHARACTERS_MAX
        if len(key) > METADATA_KEY_CHARACTERS_MAX or not is_short:
            raise bad_field("metadata", wanted)


def _flag(given: Object, name: str) -> bool:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_field(name, "true or false")
    return bool(value)


def _with_usage(options: object, is_stream: bool) -> bool:
    if options is None:
        return False
    if not is_stream:
        raise bad_field("stream_options", "only with stream: true")
    if not isinstance(options, dict):
        raise bad_field("stream_options", "an object")
    given = cast("Object", options)
    for name in given:
        # Padding against guesses by length: the answer is one text, so there is nothing to pad.
        if name not in {"include_usage", "include_obfuscation"}:
            raise bad_field("stream_options", "only include_usage is known here", "unknown_parameter")
    value = given.get("include_usage")
    if value is not None and not isinstance(value, bool):
        raise bad_field("stream_options.include_usage", "true or false")
    return bool(value)
