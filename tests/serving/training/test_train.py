"""Training on a few rows written here: it learns, repeats, and refuses to guess."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from serving.guards.linear import LinearModel, save
from serving.text.features import features, windows
from serving.training.corpus import HEADS, SOURCES, Row, own_rows, records, rows_of
from serving.training.evaluate import measure
from serving.training.fitting import calibrate, fit, stacked
from serving.training.train import TooFewRowsError, collect, main, train_heads

NAMES = ("csae", "hate")


def rows() -> list[Row]:
    made: list[Row] = []
    for index in range(24):
        made.append(Row(id=f"y{index}", text=f"purple zebra number {index}", labels=dict.fromkeys(HEADS, True)))
        made.append(Row(id=f"n{index}", text=f"green kettle number {index}", labels=dict.fromkeys(HEADS, False)))
    return made


def test_trained_heads_tell_the_kinds_apart_and_repeat(tmp_path: Path) -> None:
    made = rows()
    sparse = [features(windows(row.text)[0]) for row in made]
    heads = train_heads(made, sparse, seed=1, out=io.StringIO(), names=NAMES)
    first = save(heads, tmp_path / "a.npz")
    assert save(train_heads(made, sparse, seed=1, out=io.StringIO(), names=NAMES), tmp_path / "b.npz") == first
    model = LinearModel.load(tmp_path / "a.npz")
    yes, no = model.probabilities("a purple zebra"), model.probabilities("a green kettle")
    assert all(yes[name] > no[name] for name in NAMES)


def test_a_head_without_rows_of_both_kinds_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = rows()[:2]
    with pytest.raises(TooFewRowsError):
        train_heads(made, [features(row.text) for row in made], seed=0, out=io.StringIO())
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "m.npz")]) == 2
    assert "not enough" in capsys.readouterr().err


def test_no_source_is_share_alike() -> None:
    assert {source.licence for source in SOURCES} <= {"MIT", "Apache-2.0", "CC-BY-4.0", "CC0-1.0"}


def test_a_source_s_labels_become_heads_and_its_text_stays_unprinted(tmp_path: Path) -> None:
    lines = [
        {"id": "1", "prompt": "secret words", "labels": {}, "meta": {"hazard": "prv", "persona": "unskilled"}},
        {"id": "2", "prompt": "other words", "labels": {}, "meta": {"hazard": "unheard of"}},
    ]
    path = tmp_path / "ailuminate_en_us.train.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(line) for line in lines).encode()))
    (row,) = rows_of(SOURCES[0], tmp_path)
    assert row.labels["privacy.private"]
    assert row.labels["csae"] is False
    out = io.StringIO()
    assert len(collect(tmp_path, out).rows) == 1 + len(own_rows())
    assert "words" not in out.getvalue()


def test_a_broken_line_is_named_by_number_only(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": "1"}\n{"id": secret}\n'))
    with pytest.raises(ValueError, match="line 2") as caught:
        records(path)
    assert "secret" not in str(caught.value)


def test_a_fit_separates_what_can_be_separated() -> None:
    texts = ["red apple", "red pear", "blue apple", "blue pear"]
    matrix = stacked([features(text) for text in texts])
    targets = np.array([True, True, False, False])
    weights, intercept = fit(matrix, targets, np.full(4, 0.25), 1e-4)
    assert ((matrix.margins(weights) + intercept > 0) == targets).all()


def test_calibration_never_turns_a_ranking_round() -> None:
    margins = np.array([3.0, 2.0, -2.0, -3.0])
    slope, _ = calibrate(margins, np.array([False, False, True, True]), np.ones(4))
    assert slope > 0


def test_measures_of_a_perfect_and_a_blind_head() -> None:
    perfect = measure([True, False], [0.9, 0.1], 0.2, 0.8)
    assert (perfect.area, perfect.recall_high, perfect.alarms_low) == (1.0, 1.0, 0.0)
    assert measure([True, False], [0.5, 0.5], 0.2, 0.8).area == 0.5
    assert measure([True], [0.5], 0.2, 0.8).area is None
