"""How varied the slices of the corpus are."""

import pytest

from serving.evaluation.rows import DocumentRow
from serving.training.variety import SLICES, WORDS, distinct, sampled, table
from tests.checkout import ROOT

AUTHORS = sorted(path.stem for path in (ROOT / "serving" / "training" / "corpus").glob("*/*.jsonl"))


@pytest.mark.parametrize(("n", "share"), [(1, 3 / 6), (2, 3 / 4), (5, 0.0)])
def test_distinct_runs_are_counted_within_a_text(n: int, share: float) -> None:
    assert distinct([["a", "b", "a", "b"], ["b", "c"]], n) == pytest.approx(share)


def test_each_slice_is_measured_on_so_many_words_and_the_same_ones_each_time() -> None:
    texts = [f"one two three number{number}" for number in range(WORDS)]
    assert sum(map(len, sampled(texts))) == WORDS
    assert sampled(texts) == sampled(texts)
    assert sampled(["one two three"]) == [["one", "two", "three"]]


def test_every_author_stands_in_one_slice() -> None:
    found = {author: [name for name, those in SLICES.items() if author.startswith(those)] for author in AUTHORS}
    assert not {author: names for author, names in found.items() if len(names) != 1}


def test_a_table_has_a_line_for_each_slice_with_rows() -> None:
    row = DocumentRow(id="o01-1", lang="en", author="o01", kind="document", text="the mill by the mill")
    assert list(table([row]))[2:] == ["| documents | 1 | 0.600 | 0.750 | 1.000 | 0.750 | 5 |"]
