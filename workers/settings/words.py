"""What to write in place of a setting's value that was refused, for the mistakes that everybody makes."""

import re
from collections.abc import Sequence
from typing import Final, cast

_WHERE: Final = re.compile(r"[^\s/@]+(/[^\s@]*)?")
_URL_EXAMPLES: Final = {"base_url": "http://{where}/v1", "endpoint": "http://{where}"}


def in_words(key: str, value: object) -> str:
    """Return a sentence about a value that `key` does not allow; empty if there is nothing better to say."""
    name = key.rpartition(".")[2]
    if name == "bootstrap_servers":
        return _servers(value)
    if name == "failure_mode":
        return "closed is all there is: what no guard could judge is withheld"
    for ending, example in _URL_EXAMPLES.items():
        if name.endswith(ending) and isinstance(value, str):
            return _url(value, example)
    return ""


def _servers(value: object) -> str:
    if isinstance(value, str):
        items = [item.strip() for item in value.split(",")]
    elif isinstance(value, list):
        items = [str(item) for item in cast("Sequence[object]", value)]
    else:
        return ""
    for item in items:
        if "://" in item:
            return f"{item!r} is a URL: write host:port, such as localhost:9092"
        if item and ":" not in item and "@" not in item:
            return f"{item!r} has no port: write host:port, such as {item}:9092"
    return ""


def _url(value: str, example: str) -> str:
    if "://" in value or not _WHERE.fullmatch(value):
        return ""
    return f"{value!r} is no URL: write {example.format(where=value.partition('/')[0])}"
