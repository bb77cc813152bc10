"""The JSON Schemas of policy documents accept what loads, and refuse what is misspelt."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tests.checkout import ROOT
from tests.topology.decision.policy_world import Document, document
from tests.topology.policy.policy_document import drop, put

SCHEMAS = ROOT / "schemas"


def _validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / name).read_text("utf-8")))


VALIDATOR = _validator("policy-bundle.json")


def test_the_shipped_policy_is_valid() -> None:
    VALIDATOR.validate(document())


@pytest.mark.parametrize(
    ("spoil", "path"),
    [
        (put("categories/hate/class", "nice"), ["categories", "hate", "class"]),
        (put("categories/hate/colour", "red"), ["categories", "hate"]),
        (put("base_ceiling/data", [[9, 0, 0]] * 5), ["base_ceiling", "data", 0, 0]),
        (put("guard_groups/cyber/code", "cyber"), ["guard_groups", "cyber", "code"]),
        (drop("help_lines/US/source"), ["help_lines", "US"]),
    ],
)
def test_what_is_misspelt_is_found_at_its_place(spoil: Callable[[Document], None], path: list[str | int]) -> None:
    changed = document()
    spoil(changed)
    assert path in [list(error.absolute_path) for error in VALIDATOR.iter_errors(changed)]


def test_an_overlay_may_not_have_fields_that_nobody_reads() -> None:
    validator = _validator("tenant-overlay.json")
    validator.validate({"tenant_id": "acme", "version": "1", "caps": {"hate": 0}})
    assert not validator.is_valid({"tenant_id": "acme", "version": "1", "cap": {"hate": 0}})
