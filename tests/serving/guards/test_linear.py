"""The stored model: round trip, validation, bands."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from serving.guards.linear import Band, Head, LinearModel, ModelError, quantise, save
from serving.text.features import BUCKETS


def head(name: str = "hate", **changed: float) -> Head:
    weights, scale = quantise(np.linspace(-1, 1, BUCKETS))
    values = {"scale": scale, "slope": 2.0, "offset": -0.5, "low": 0.2, "high": 0.8, **changed}
    return Head(name=name, weights=weights, **values)


def test_a_saved_model_loads_with_the_same_scores_and_version(tmp_path: Path) -> None:
    version = save([head(), head("gore")], tmp_path / "m.npz")
    model = LinearModel.load(tmp_path / "m.npz")
    assert model.version == version
    assert model.names == ("hate", "gore")
    scores = model.probabilities("some words")
    assert all(0 <= score <= 1 for score in scores.values())
    assert LinearModel([head(), head("gore")], version).probabilities("some words") == scores


def test_the_same_heads_give_the_same_bytes(tmp_path: Path) -> None:
    assert save([head()], tmp_path / "a") == save([head()], tmp_path / "b")


def test_a_model_survives_pickling(tmp_path: Path) -> None:
    save([head()], tmp_path / "m.npz")
    model = LinearModel.load(tmp_path / "m.npz")
    assert pickle.loads(pickle.dumps(model)).probabilities("x y") == model.probabilities("x y")


@pytest.mark.parametrize(
    "bad",
    [head(low=0.9), head(high=1.5), head(slope=-1.0), head(scale=0.0), head(offset=float("nan"))],
)
def test_parameters_out_of_range_are_refused(bad: Head) -> None:
    with pytest.raises(ModelError):
        LinearModel([bad], "v")


def test_two_heads_of_one_name_are_refused() -> None:
    with pytest.raises(ModelError, match="one name"):
        LinearModel([head(), head()], "v")


def test_weights_of_the_wrong_shape_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "m.npz",
        format=1,
        names=np.array(["a"]),
        weights=np.zeros((1, 5), np.int8),
        parameters=np.zeros((1, 5)),
    )
    with pytest.raises(ModelError, match="weights"):
        LinearModel.load(tmp_path / "m.npz")


def test_damaged_missing_and_pickled_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "pickled.npz", names=np.array([object()], dtype=object))
    for name in ("damaged", "missing", "pickled.npz"):
        with pytest.raises(ModelError):
            LinearModel.load(tmp_path / name)


@pytest.mark.parametrize(
    ("probability", "band"), [(0.1, Band.OUT), (0.2, Band.OUT), (0.5, Band.ABSTAIN), (0.8, Band.IN), (1.0, Band.IN)]
)
def test_between_the_thresholds_a_head_abstains(probability: float, band: Band) -> None:
    assert LinearModel([head()], "v").band("hate", probability) is band


def test_a_passage_deep_in_a_long_text_counts_as_much_as_alone() -> None:
    model = LinearModel([head()], "v")
    alone = model.probabilities("zebra " * 300)["hate"]
    assert model.probabilities("x " * 9_000 + "zebra " * 600)["hate"] >= min(alone, 0.9) - 0.2


def test_the_packaged_model_loads() -> None:
    model = LinearModel.load()
    assert "csae" in model
    assert "stereotype" in model
