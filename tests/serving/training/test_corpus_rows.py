"""The corpus holds what its data card says: every row has the mode of its labels, and nothing stands in it twice."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from serving.evaluation.expected import faults_of
from serving.evaluation.rows import DocumentRow, ReplyRow, RequestRow, Row, RowError, read_rows
from serving.training.diversity import distinct_pairs, near_duplicates
from tests.checkout import ROOT
from topology.policy.loading import packaged_bundle

CORPUS = ROOT / "serving" / "training" / "corpus"
FILES = sorted(CORPUS.glob("*/*.jsonl"))
DUPLICATES_SHARE_MAX = 0.002
DISTINCT_PAIRS_MIN = 0.5
LANGUAGES = ["en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "ru", "ar", "hi", "zh", "ja"]
MEASURED_ONLY = {"ko", "sv"}
ROWS_PER_CATEGORY_MIN = 120


@cache
def rows(path: Path) -> tuple[Row, ...]:
    return tuple(read_rows(path))


def all_of(kind: type[Row]) -> list[Row]:
    return [row for path in FILES for row in rows(path) if isinstance(row, kind)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_row_has_the_mode_that_its_labels_are_planned_with(path: Path) -> None:
    assert not list(faults_of(rows(path), packaged_bundle()))
    assert {row.author for row in rows(path)} == {path.stem}


def test_no_text_stands_in_the_corpus_twice() -> None:
    texts = {row.id: row.messages[-1].text for row in all_of(RequestRow) if isinstance(row, RequestRow)}
    long = {name: text for name, text in texts.items() if len(text) > 30}
    assert len(near_duplicates(long)) <= DUPLICATES_SHARE_MAX * len(long)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_each_language_are_varied(language: str) -> None:
    texts = [
        row.messages[-1].text for row in all_of(RequestRow) if isinstance(row, RequestRow) and row.lang == language
    ]
    assert distinct_pairs(texts) >= DISTINCT_PAIRS_MIN


def test_every_category_has_enough_rows_and_no_language_is_missing() -> None:
    requests = [row for row in all_of(RequestRow) if isinstance(row, RequestRow)]
    topics = Counter(row.topic for row in requests)
    assert not {
        name: topics[name]
        for name in packaged_bundle().categories
        if name != "none" and topics[name] < ROWS_PER_CATEGORY_MIN
    }
    assert {row.lang for row in requests} == {*LANGUAGES, *MEASURED_ONLY}
    assert all(row.author.startswith("d") for row in requests if row.lang in MEASURED_ONLY)
    assert sum(row.lang == "en" for row in requests) <= 0.45 * len(requests)
    assert len(requests) >= 9000
    assert len(all_of(ReplyRow)) >= 3000
    assert len(all_of(DocumentRow)) >= 800


def test_a_fault_names_the_row_and_none_of_its_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"id": "x-1", "lang": "en", "author": "x", "topic": "everyday", "kind": "everyday", '
        '"messages": [{"role": "user", "text": "secret"}], "expect": {"mode": "hard_refuse"}}\n'
    )
    (fault,) = faults_of(read_rows(path), packaged_bundle())
    assert fault == "x-1: mode hard_refuse, its labels are planned as direct_answer"
    path.write_text('{"id": "x-1", "lang": "en", "messages": "secret"}\n')
    with pytest.raises(RowError) as caught:
        list(read_rows(path))
    assert "secret" not in str(caught.value)
