"""`sluicegate policy diff`: what two policies differ in, by meaning, and whether the version says so."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.plugins.policy_desk import PolicyDesk
from topology.contract.labels import CategoryId
from topology.policy.loading import packaged_bundle

BUNDLE = packaged_bundle()
FRAUD = "categories/wrongdoing.nonviolent"


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> PolicyDesk:
    return PolicyDesk(tmp_path, capsys)


def differences(desk: PolicyDesk, changes: dict[str, object]) -> dict[str, Any]:
    """What the packaged policy and one with `changes` differ in."""
    status, out, err = desk.run("diff", desk.policy("old.json"), desk.policy("new.json", changes), "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def rules_with(row_id: str, **changes: object) -> list[dict[str, object]]:
    """The packaged verdict table with one row changed."""
    rows = msgspec.to_builtins(BUNDLE.rules)
    assert any(row["id"] == row_id for row in rows)
    return [{**row, **changes} if row["id"] == row_id else row for row in rows]


@pytest.mark.parametrize(
    ("changes", "kind", "where", "needed"),
    [
        ({f"{FRAUD}/include": ["referral"]}, "stricter", "categories.wrongdoing.nonviolent.include", "minor"),
        ({f"{FRAUD}/anchor": "assume_best_intentions"}, "wording", "categories.wrongdoing.nonviolent.anchor", "patch"),
        (
            {f"{FRAUD}/floor_mode": "safe_completion"},
            "stricter",
            "categories.wrongdoing.nonviolent.floor_mode",
            "minor",
        ),
        (
            {"categories/regulated_advice.legal/loosen/to": 4},
            "looser",
            "categories.regulated_advice.legal.loosen",
            "major",
        ),
        ({"categories/gore/offer": ["textbook_level_explanation"]}, "other", "categories.gore.offer", "minor"),
        ({"modes/crisis_support/include": ["crisis_line"]}, "looser", "modes.crisis_support.include", "major"),
        ({"help_lines/GB/as_of": "2030-01-01"}, "wording", "help_lines.GB", "patch"),
        ({"policy/spec/version": "2030-01-01"}, "wording", "policy.spec", "patch"),
    ],
    ids=str,
)
def test_each_change_is_told_by_what_it_means(
    desk: PolicyDesk, changes: dict[str, object], kind: str, where: str, needed: str
) -> None:
    found = differences(desk, changes)
    assert [(change["kind"], change["path"]) for change in found["changes"]] == [(kind, where)]
    assert (found["needed"], found["ceilings"]) == (needed, [])


def test_ceilings_are_compared_wherever_they_apply(desk: PolicyDesk) -> None:
    found = differences(desk, {"categories/drugs.use/teen_cap": 2})
    (change,) = found["ceilings"][:1]
    assert found["needed"] == "major"
    assert {tuple(each["ages"]) for each in found["ceilings"]} == {("unknown", "teen")}
    assert (change["category"], change["before"], change["after"]) == ("drugs.use", 1, 2)


def test_a_grant_and_a_context_are_part_of_a_ceiling(desk: PolicyDesk) -> None:
    (grant,) = differences(desk, {"categories/cyber.offense/grants/cyber_trusted_access": [4, 3, 0]})["ceilings"]
    assert (grant["grants"], grant["ages"], grant["after"]) == (["cyber_trusted_access"], ["adult"], 4)
    contexts = [name for name in BUNDLE.categories[CategoryId("gore")].raise_contexts if name != "news"]
    news = differences(desk, {"categories/gore/raise": contexts})["ceilings"]
    assert {tuple(each["contexts"]) for each in news} == {("news",)}
    assert {each["after"] < each["before"] for each in news} == {True}


def test_verdicts_are_compared_over_every_fault(desk: PolicyDesk) -> None:
    found = differences(desk, {"rules": rules_with("V07", verdict="refuse")})
    (change,) = found["changes"]
    assert (change["kind"], change["before"], change["after"]) == ("stricter", "V07 safe_complete", "V07 refuse")
    assert found["needed"] == "minor"


def test_rows_that_ask_for_other_effects_alone_are_named(desk: PolicyDesk) -> None:
    (change,) = differences(desk, {"rules": rules_with("V07", side_effects=["alarm"])})["changes"]
    assert (change["kind"], change["path"]) == ("other", "rules")


def test_a_new_category_is_minor_and_one_that_goes_is_major(desk: PolicyDesk) -> None:
    gore = json.loads(Path(desk.policy("all.json")).read_text())["categories"]["gore"]
    added = differences(desk, {"categories/gore.medical": gore})
    assert (added["changes"][0]["kind"], added["needed"]) == ("added", "minor")
    old, new = desk.policy("old.json", {"categories/gore.medical": gore}), desk.policy("new.json")
    gone = json.loads(desk.run("diff", old, new, "--json")[1])
    assert (gone["changes"][0]["kind"], gone["needed"]) == ("looser", "major")


@pytest.mark.parametrize(
    ("version", "is_fit"), [("0.2.0", False), ("0.2.1", False), ("0.3.0", True), ("1.0.0", True), ("0.1.9", False)]
)
def test_the_version_has_to_rise_by_enough(desk: PolicyDesk, version: str, is_fit: bool) -> None:
    old = desk.policy("old.json", {"policy/version": "0.2.0"})
    new = desk.policy("new.json", {"policy/version": version, f"{FRAUD}/include": ["referral"]})
    assert json.loads(desk.run("diff", old, new, "--json")[1])["is_version_fit"] is is_fit
    assert ("which is not enough" in desk.run("diff", old, new)[1]) is not is_fit


def test_the_same_policy_has_no_differences(desk: PolicyDesk) -> None:
    old, new = desk.policy("old.json"), desk.policy("new.json")
    status, out, _ = desk.run("diff", old, new, "--exit-code")
    assert (status, out.splitlines()[-1]) == (0, "the policies are the same")


def test_tables_name_what_differs_and_a_status_can_be_had(desk: PolicyDesk) -> None:
    old, new = desk.policy("old.json"), desk.policy("new.json", {f"{FRAUD}/fixed": [1, 1, 0]})
    status, out, err = desk.run("diff", old, new, "--exit-code")
    assert (status, err) == (1, "")
    assert "stricter   wrongdoing.nonviolent   H1" in out
    assert "any but transformation" in out
    assert "this is a minor change; the version stays" in out


def test_a_file_that_cannot_be_read_is_wrong_use(desk: PolicyDesk) -> None:
    status, out, err = desk.run("diff", desk.policy("old.json"), "gone.yaml")
    assert (status, out) == (2, "")
    assert "sluicegate policy diff: NEW gone.yaml: cannot be read: No such file" in err
