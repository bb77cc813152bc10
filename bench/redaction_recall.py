"""The share of labelled personal data that redaction hides, and what it hides in texts without labels.

`python bench/redaction_recall.py --data DIR NAME...` reads DIR/NAME.jsonl.gz: rows with `text`, and with
`labels.pii` as [start, end, kind] if the texts are labelled. A label counts as hidden if its whole span is hidden.
`--names-model` names spaCy pipelines; what they find is right if it touches a label of its kind.
"""

import argparse
import gzip
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from serving.personal_data.names import names_recognizer
from serving.personal_data.redaction import KeyedDigest, Redactor

PLACES = {"GPE", "LOCATION", "STREET_ADDRESS", "ADDRESS", "ZIP_CODE"}
NAMED = {"PERSON": {"PERSON"}, "LOCATION": PLACES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--names-model", action="append", default=[])
    parser.add_argument("names", nargs="+")
    asked = parser.parse_args()
    names = names_recognizer(tuple(asked.names_model))
    redactor = Redactor(KeyedDigest(b"bench", "bench"), region="US", names=names)
    for name in asked.names:
        with gzip.open(asked.data / f"{name}.jsonl.gz", "rt") as lines:
            _report(name, [json.loads(line) for line in lines], redactor)


def _report(name: str, rows: list[dict[str, Any]], redactor: Redactor) -> None:
    labelled: Counter[str] = Counter()
    hidden: Counter[str] = Counter()
    unlabelled: Counter[str] = Counter()
    named: Counter[str] = Counter()
    right: Counter[str] = Counter()
    texts = [row.get("text") or row.get("prompt") or "" for row in rows]
    started = time.process_time()
    found = [redactor.spans(text) for text in texts]
    cost_us = (time.process_time() - started) / len(rows) * 1e6
    for row, spans in zip(rows, found, strict=True):
        labels = row.get("labels", {}).get("pii", [])
        for start, end, kind in labels:
            labelled[kind] += 1
            hidden[kind] += any(span.start <= start and end <= span.end for span in spans)
        unlabelled.update(
            span.label for span in spans if not any(span.start < end and start < span.end for start, end, _ in labels)
        )
        for span in spans:
            kinds = [kind for start, end, kind in labels if span.start < end and start < span.end]
            named[span.label] += span.label in NAMED
            right[span.label] += bool(NAMED.get(span.label, set()).intersection(kinds))
    print(f"{name}: {len(rows)} texts, {sum(map(len, texts)) / len(rows):.0f} characters, {cost_us:.0f} µs a text")
    for kind, count in labelled.most_common():
        print(f"  {kind:20} {hidden[kind]:5} of {count:5} hidden")
    print(f"  outside labels: {dict(unlabelled)}")
    print(f"  names that are right: { {kind: f'{right[kind]} of {named[kind]}' for kind in NAMED if named[kind]} }")


if __name__ == "__main__":
    main()
