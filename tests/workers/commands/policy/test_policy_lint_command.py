"""`sluicegate policy lint`: why a policy does not load, and what is odd about one that does."""

from pathlib import Path

import pytest

from tests.plugins.policy_desk import PolicyDesk


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> PolicyDesk:
    return PolicyDesk(tmp_path, capsys)


def test_a_policy_without_warnings_passes(desk: PolicyDesk) -> None:
    status, out, err = desk.run("lint", desk.policy("policy.json"))
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("errors: 0, warnings: 0, notes: ")


def test_a_warning_counts_and_a_note_does_under_strict_alone(desk: PolicyDesk) -> None:
    noted = desk.policy("noted.json")
    assert "\nnote " in "\n" + desk.run("lint", noted)[1]
    assert desk.run("lint", noted, "--strict")[0] == 1
    warned = desk.policy("warned.json", {"offers/nobody_offers_this": {"en": "words"}})
    status, out, _ = desk.run("lint", warned)
    assert status == 1
    assert f"warning {warned}: offers.nobody_offers_this: " in out


def test_every_reason_against_a_policy_is_a_line_with_its_path(desk: PolicyDesk) -> None:
    broken = desk.policy("policy.json", {"categories/gore/harm": [3, 9], "categories/hate/family": "novel"})
    status, out, err = desk.run("lint", broken)
    assert (status, err) == (2, "")
    assert [line.split(": ")[1:3] for line in out.splitlines()[:-1]] == [
        ["bundle", "categories.hate"],
        ["bundle", "categories.gore"],
    ]


def test_overlays_are_checked_against_the_policy(desk: PolicyDesk) -> None:
    good = desk.file("good.yaml", "tenant_id: t\nversion: '1'\ncaps: {gore: 0}\n")
    bad = desk.file("bad.yaml", "tenant_id: t\nversion: '1'\ncaps: {no.such: 0}\nraises: {gore: {to: 4, by: user}}\n")
    policy = desk.policy("policy.json")
    assert desk.run("lint", policy, "--overlay", good)[0] == 0
    status, out, _ = desk.run("lint", policy, "--overlay", good, "--overlay", bad)
    assert status == 2
    assert [line for line in out.splitlines() if line.startswith("error ")] == [
        f"error   {bad}: overlay: caps.no.such: unknown category",
        f"error   {bad}: overlay: raises.gore: a rule at system level is not raised by tenants",
    ]


def test_files_that_cannot_be_read_are_wrong_use(desk: PolicyDesk) -> None:
    status, out, err = desk.run("lint", "gone.yaml")
    assert (status, out) == (2, "")
    assert "sluicegate policy lint: FILE gone.yaml: cannot be read: No such file" in err
    assert "--overlay gone.yaml: cannot be read" in desk.run("lint", desk.policy("p.json"), "--overlay", "gone.yaml")[2]
