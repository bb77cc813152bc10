"""The learning curve: frozen states, light heads, their figures, and the tables."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from serving.evaluation.examples import examples_of
from serving.evaluation.rows import Finding, Message, RequestExpected, RequestRow
from serving.guards.encoder.heads import HEADS
from serving.training.encoder import learning_curve
from serving.training.encoder.frozen_states import frozen_states
from serving.training.encoder.learning_curve import bag_of_words, lines
from serving.training.encoder.light_heads import AT_RISK, CATEGORY, MODE, area, fitted, logits_of
from tests.plugins.tiny_encoder import network, spelt
from topology.contract.labels import Context, Intent, Mode, Vulnerability

GRAVE = Finding(category="drugs.production", harm=3, intent=Intent.MALICIOUS, context=Context.GENERAL, asked=3)


def _row(number: int, author: str, text: str, *, is_grave: bool, is_at_risk: bool = False) -> RequestRow:
    expect = RequestExpected(
        findings=(GRAVE,) if is_grave else (),
        vulnerability=Vulnerability.AT_RISK if is_at_risk else Vulnerability.NONE,
        mode=Mode.HARD_REFUSE if is_grave else Mode.DIRECT_ANSWER,
    )
    said = (Message(role="user", text=text),)
    return RequestRow(
        id=f"{author}-{number}", lang="en", author=author, topic="x", kind="twin", messages=said, expect=expect
    )


def _rows(author: str, count: int) -> list[RequestRow]:
    return [
        _row(number, author, f"{'brew' if number % 2 else 'bake'} it number {number}", is_grave=bool(number % 2))
        for number in range(count)
    ]


def test_a_text_has_the_same_states_alone_and_among_others() -> None:
    tokenizer, tiny = Tokenizer.from_str(json.dumps(spelt())), network().eval()
    tiny.frozen = len(tiny.layers)
    examples = examples_of([_row(1, "a", "ab", is_grave=False), _row(2, "a", "ba ab ba ab", is_grave=True)])
    said: list[str] = []
    together = frozen_states(examples, tokenizer, tiny, said.append)
    alone = np.concatenate([frozen_states([each], tokenizer, tiny, said.append) for each in examples])
    assert together.shape == (2, 2 * tiny.embedding.embedding_dim)
    assert np.allclose(together, alone, atol=2e-2)  # bfloat16
    assert not np.allclose(together[0], together[1], atol=2e-2)


def test_light_heads_learn_what_separates_rows_and_repeat_themselves() -> None:
    examples = examples_of(_rows("a", 40))
    targets, words = torch.from_numpy(np.stack([each.targets for each in examples])), bag_of_words(examples)
    weights = fitted(words, targets)
    logits = logits_of(words, weights)
    assert MODE.value(logits, targets.numpy()) == (1.0, 40)
    assert CATEGORY.value(logits, targets.numpy()) == (1.0, 20), "only rows with a category count"
    assert torch.equal(weights, fitted(words, targets))


def test_a_risk_is_ranked_by_the_probability_of_all_risks() -> None:
    rows = [_row(number, "a", "x", is_grave=False, is_at_risk=number == 2) for number in range(3)]
    targets = np.stack([each.targets for each in examples_of(rows)])
    logits = np.zeros_like(targets)
    head = HEADS["vulnerability"]
    logits[:, head.start] = (0.0, 2.0, 1.0)  # the first value is `none`: the last row is above one of two
    assert AT_RISK.value(logits, targets) == (0.5, 3)


@pytest.mark.parametrize(
    ("scores", "truths", "expected"),
    [([1, 2, 3, 4], [0, 0, 1, 1], 1.0), ([4, 3, 2, 1], [0, 0, 1, 1], 0.0), ([1, 1], [0, 1], 0.5)],
)
def test_the_area_is_the_chance_that_a_true_one_is_above(
    scores: list[float], truths: list[int], expected: float
) -> None:
    assert area(np.array(scores, np.float32), np.array(truths) > 0) == expected
    assert np.isnan(area(np.array(scores, np.float32), np.ones(len(scores), bool)))


def test_few_rows_make_no_line() -> None:
    targets = np.stack([each.targets for each in examples_of(_rows("a", 30))])
    scores = {arm: [targets] for arm in learning_curve.SHARES}
    parts = {"all": np.ones(30, bool), "few": np.arange(30) < learning_curve.ROWS_MIN - 1}
    assert list(lines(MODE, scores, targets, parts)) == ["| all | 1.000 | 1.000 | 1.000 | +0.000 | 30 |"]


def test_the_tables_are_of_authors_that_heads_are_not_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "corpus" / "requests"
    folder.mkdir(parents=True)
    for author, count in (("a01", 60), ("d01", 24), ("d05", 40)):
        encoded = b"\n".join(msgspec.json.encode(row) for row in _rows(author, count))
        (folder / f"{author}.jsonl").write_bytes(encoded + b"\n")
    grave = np.array([number % 2 for count in (60, 24) for number in range(count)], np.float16)
    np.save(tmp_path / "requests.npy", np.stack([grave, 1 - grave], 1))
    picture = tmp_path / "curve.svg"
    given = ["--wheels", str(tmp_path), "--kept", str(tmp_path), "--corpus", str(folder.parent)]
    assert learning_curve.main([*given, "--folders", "requests", "--picture", str(picture)]) == 0
    shown = capsys.readouterr()
    assert "60 rows to train on, 24 to measure on" in shown.err
    assert shown.out.count("| mode right | 1.000 | 1.000 | 1.000 | +0.000 | 24 |") == 2, "words and states"
    assert "<svg" in picture.read_text("utf-8")
    assert "brew" not in shown.out + shown.err
