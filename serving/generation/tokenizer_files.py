"""The files of a tokenizer on this machine: in a directory, or under a model's name in the Hugging Face cache."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from serving.generation.tokenizer_marks import (
    UNREADABLE,
    marks_of_configuration,
    marks_of_mistral_vocabulary,
    marks_of_template,
    marks_of_vocabulary,
)

FILE_BYTES_MAX = 256 * 1024 * 1024
"""The largest file that is read: several times the largest vocabulary in use."""

TEMPLATES_MAX = 64

_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_READERS: Mapping[str, Callable[[bytes], set[str]]] = {
    "tokenizer.json": marks_of_vocabulary,
    "tokenizer_config.json": marks_of_configuration,
    "special_tokens_map.json": marks_of_configuration,
    "chat_template.json": marks_of_configuration,
    "tekken.json": marks_of_mistral_vocabulary,
}


class TokenizerUnreadable(Exception):
    """A tokenizer that is not there or cannot be read. `args` is (what is wrong), without a file's content."""


def marks_of_tokenizer(name: str, environ: Mapping[str, str]) -> set[str]:
    """Return the marks of a tokenizer named by its directory, one of its files, or its model's name in the local cache.

    Nothing is downloaded. Raises TokenizerUnreadable.
    """
    directory = _directory(name, environ)
    found: set[str] = set()
    try:
        read = [(reader, directory / file) for file, reader in _READERS.items() if (directory / file).is_file()]
        for reader, path in read:
            found |= reader(_content(path))
        for path in _templates(directory):
            found |= marks_of_template(_content(path).decode())
    except OSError as exc:
        raise TokenizerUnreadable(f"{exc.filename}: {exc.strerror}") from exc
    except UNREADABLE as exc:
        raise TokenizerUnreadable(f"a file in {directory} is not what its name says") from exc
    if not read:
        raise TokenizerUnreadable(f"{directory} has none of {', '.join(_READERS)}")
    return found


def _templates(directory: Path) -> Iterable[Path]:
    named = directory / "chat_template.jinja"
    more = sorted((directory / "additional_chat_templates").glob("*.jinja"))
    return [*([named] if named.is_file() else []), *more[:TEMPLATES_MAX]]


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise TokenizerUnreadable(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    return content


def _directory(name: str, environ: Mapping[str, str]) -> Path:
    path = Path(name)
    if path.is_dir():
        return path
    if path.is_file():
        return path.parent
    repository = _cache(environ) / f"models--{name.replace('/', '--')}"
    if not _NAME.fullmatch(name) or not repository.is_dir():
        raise TokenizerUnreadable("there is no such directory, and no such model in the local cache")
    try:
        revision = (repository / "refs" / "main").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise TokenizerUnreadable(f"{repository} names no revision `main`") from exc
    return repository / "snapshots" / revision


def _cache(environ: Mapping[str, str]) -> Path:
    """Return the directory of the Hugging Face cache, by the variables that its own library reads."""
    if given := environ.get("HF_HUB_CACHE"):
        return Path(given)
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home) / "hub"
