"""`sluicegate policy show`: a policy's categories and ceilings, and what a tenant's overlay makes of them."""

import json
from pathlib import Path

import pytest

from tests.plugins.dead_letter_desk import Desk
from tests.plugins.kafka_broker import Kafka
from tests.plugins.policy_desk import PolicyDesk
from tests.plugins.policy_publisher import CATEGORY, KEYS, LOW, bundle, overlay, publication
from topology.policy.envelopes import PublicationKind
from topology.policy.loading import packaged_bundle

BUNDLE = packaged_bundle()


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> PolicyDesk:
    return PolicyDesk(tmp_path, capsys)


def test_every_category_is_a_row_of_the_policy_of_the_settings(desk: PolicyDesk) -> None:
    status, out, err = desk.run("show")
    lines = out.splitlines()
    assert (status, err, lines[0]) == (0, "", BUNDLE.ref)
    rows = {line.split()[0]: line for line in lines if line}
    assert BUNDLE.categories.keys() <= rows.keys()
    assert "H2 3/2/0  H3 2/1/0  H4 1/1/0   D1" in rows["weapons.conventional"]
    assert "always crisis_support" in rows["self_harm.method"]


def test_one_category_is_shown_in_full(desk: PolicyDesk) -> None:
    out = desk.run("show", desk.policy("policy.json"), "--category", "drugs.use")[1]
    assert "drugs.use" in out
    assert "verified adult          H1 4/3/1  H2 3/2/0  H3 2/1/0" in out
    assert "teen                    H1 1/1/1  H2 1/1/0  H3 1/1/0" in out
    assert "offers harm_reduction_facts: " in out
    assert "gore" not in out


def test_json_has_the_same_as_numbers(desk: PolicyDesk) -> None:
    found = json.loads(desk.run("show", "--category", "gore", "--category", "hate", "--json")[1])
    gore, hate = found["categories"]
    assert (gore["name"], gore["ceilings"], gore["teen_cap"]) == ("gore", {"2": [2, 2, 1]}, 1)
    assert (hate["name"], hate["tenant_ceilings"]) == ("hate", None)


def test_an_overlay_shows_what_it_makes_of_ceilings(desk: PolicyDesk) -> None:
    overlay = desk.file(
        "overlay.yaml",
        "tenant_id: clinic\nversion: '1'\nage_default: adult\ncaps: {gore: 0}\n"
        "raises: {regulated_advice.medical: {to: 3, by: developer, attestation: licensed}}\n",
    )
    found = json.loads(desk.run("show", "--tenant", overlay, "--json")[1])
    by_name = {each["name"]: each for each in found["categories"]}
    assert found["overlay_ref"].startswith("clinic@1#")
    assert by_name["gore"]["tenant_ceilings"] == {"2": [0, 0, 0]}
    assert by_name["regulated_advice.medical"]["tenant_ceilings"] == {"2": [3, 3, 1], "3": [3, 3, 0]}
    assert by_name["drugs.use"]["tenant_unknown_ceilings"] == by_name["drugs.use"]["ceilings"]
    assert "tenant: unknown age" in desk.run("show", "--tenant", overlay)[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("gone.yaml",), "FILE gone.yaml: cannot be read: No such file"),
        (("--category", "fishing"), "--category fishing: unknown; safe-completion-core@"),
        (("--tenant", "gone.yaml"), "--tenant gone.yaml: cannot be read"),
    ],
    ids=" ".join,
)
def test_wrong_use_names_what_was_given(desk: PolicyDesk, arguments: tuple[str, ...], named: str) -> None:
    status, out, err = desk.run("show", *arguments)
    assert (status, out) == (2, "")
    assert f"sluicegate policy show: {named}" in err


def test_an_overlay_that_is_rejected_says_why(desk: PolicyDesk) -> None:
    status, _, err = desk.run(
        "show", "--tenant", desk.file("bad.yaml", "tenant_id: t\nversion: '1'\ncaps: {nowhere: 0}\n")
    )
    assert status == 2
    assert "caps.nowhere: unknown category" in err


@pytest.mark.kafka
def test_with_a_policy_topic_the_one_that_holds_there_is_shown(
    kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(kafka, tmp_path, capsys)
    keys = "".join(f"{name} = {json.dumps(key)}\n" for name, key in KEYS.items())
    with desk.config.open("a") as file:
        file.write(f'[policy]\nsource = "topic"\nstart_timeout_s = 20\n[policy.keys]\n{keys}')
    capped = publication("1.0.0", overlay("t", caps={"gore": 0}), 2, kind=PublicationKind.OVERLAY, name="t")
    for value in (bundle("7.0.0", 1, LOW), capped):
        kafka.send_record(desk.topics["policy"], value, b"key", [])
    status, out, err = desk.run("policy", "show", "--category", CATEGORY, "--json")
    assert (status, err) == (0, "")
    shown = json.loads(out)
    assert shown["policy_ref"].startswith("safe-completion-core@7.0.0#")
    assert shown["categories"][0]["ceilings"]["2"] == list(LOW)
