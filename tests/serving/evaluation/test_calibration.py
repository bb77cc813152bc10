"""Calibration: temperatures that make probabilities true, thresholds of least cost, what is written beside weights."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.evaluation import thresholds
from serving.evaluation.calibrating import calibrate, tempered
from serving.evaluation.reliability import diagram, reliability
from serving.evaluation.rows import Row
from serving.evaluation.temperatures import fit_temperatures, head_reliability
from serving.evaluation.thresholds import LEVELS, fitted
from serving.guards.encoder.heads import HEADS, TEXT_WIDTH
from serving.guards.encoder.model import DESCRIPTION_FILE, Encoder, description_of
from serving.guards.encoder.thresholds import Thresholds
from tests.plugins.tiny_encoder import write_encoder
from tests.serving.evaluation.test_figures import BARRED, BUNDLE, HARMLESS, STEPS, reply, request
from workers.cli import main

BARRED_HEAD = HEADS["barred"]


def overconfident(count: int) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Statements of .99 of which four fifths are true, and of .01 of which one fifth is."""
    known = []
    for number in range(count):
        is_said = number % 2 == 0
        targets = np.full(TEXT_WIDTH, -1.0, np.float32)
        targets[BARRED_HEAD.start] = float(is_said if number % 10 < 8 else not is_said)
        known.append(({"barred": np.array([0.99 if is_said else 0.01], np.float32)}, targets))
    return known


def test_calibration_error_is_the_mean_distance_from_the_truth() -> None:
    found = reliability([0.95] * 10 + [0.05] * 10, [1] * 7 + [0] * 3 + [0] * 10)
    assert found.error == pytest.approx((0.25 + 0.05) / 2)
    assert [each.count for each in found.bins] == [10, 10]
    assert "0.70 of 10" in "\n".join(diagram("barred", found))
    with pytest.raises(ValueError, match="no statement"):
        reliability([], [])


def test_a_head_that_is_too_sure_gets_a_temperature_above_one() -> None:
    known = overconfident(100)
    temperatures = fit_temperatures(known)
    assert list(temperatures) == ["barred"]
    assert temperatures["barred"] > 2
    assert head_reliability(known, temperatures)["barred"].error < head_reliability(known, {})["barred"].error / 3


def test_a_head_with_few_rows_keeps_its_probabilities() -> None:
    assert fit_temperatures(overconfident(10)) == {}


def test_thresholds_are_those_of_least_cost() -> None:
    def cost(at: Thresholds) -> float:
        return abs(at.risk - 0.3) + abs(at.category - 0.7) * at.risk

    found = fitted(("risk", "category"), cost, Thresholds())
    assert (found.risk, found.category) == (0.3, 0.7)
    assert fitted(("barred",), lambda _: 1.0, Thresholds()).barred == LEVELS[len(LEVELS) // 2]


def test_of_nearly_equal_thresholds_for_a_risk_the_lowest_is_kept() -> None:
    costs = {0.4: 1.009, 0.45: 1.011, 0.6: 1.0}
    found = fitted(("risk",), lambda at: costs.get(at.risk, 2.0), Thresholds())
    assert found.risk == 0.4


@pytest.fixture
def few_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coarse search: what is tested is not how fine it is."""
    monkeypatch.setattr(thresholds, "LEVELS", (0.2, 0.5, 0.9))
    monkeypatch.setattr(thresholds, "ROUNDS", 1)


def rows() -> list[Row]:
    asked: list[Row] = [request(f"a{n}", f"How can I steal car {n} without getting caught?", BARRED) for n in range(12)]
    asked += [request(f"b{n}", f"How do I boil {n} eggs?", HARMLESS, "everyday", "de") for n in range(12)]
    asked += [reply(f"c{n}", STEPS, may_leave=False) for n in range(2)]
    return [*asked, reply("d", "Locks help.", may_leave=True)]


@pytest.mark.usefixtures("few_levels")
def test_an_encoder_is_calibrated_on_rows(tmp_path: Path) -> None:
    encoder = Encoder(write_encoder(tmp_path))
    found = calibrate(rows(), encoder, BUNDLE, lambda done, total: None)
    assert "category" in found.temperatures
    assert found.costs["requests"][1] <= found.costs["requests"][0]
    after = Encoder(tmp_path, description=found.of(description_of(tmp_path)))
    assert after.version != encoder.version
    given = list(encoder._latest)[:1]
    (raw,), (cooled,) = encoder.read(given), after.read(given)
    for name, each in tempered(raw, found.temperatures).heads.items():
        assert each == pytest.approx(cooled.heads[name], abs=0.01)


@pytest.mark.usefixtures("few_levels")
def test_the_command_writes_the_description_or_only_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = write_encoder(tmp_path), tmp_path / "rows.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, rows())))
    before = (folder / DESCRIPTION_FILE).read_bytes()
    given = ["guard", "calibrate", "--encoder", str(folder), "--requests", str(file)]
    assert main([*given, "--dry-run"]) == 0
    assert (folder / DESCRIPTION_FILE).read_bytes() == before
    assert main(given) == 0
    assert description_of(folder).temperatures
    printed = capsys.readouterr().out
    assert "expected calibration error" in printed
    assert "steal" not in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--requests", "nowhere.jsonl"], "nowhere.jsonl"),
        ([], "no row"),
    ],
)
def test_rows_that_are_not_there_are_named(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["guard", "evaluate", *arguments]) != 0
    assert said in capsys.readouterr().err
