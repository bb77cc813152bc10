"""The author's guide does not lie: its examples load, and what it says of a bundle is so."""

import re
from typing import cast

import msgspec
import pytest

from tests.checkout import ROOT
from tests.topology.decision.policy_world import Document, bundle, document, load
from topology.contract.errors import PolicyError
from topology.policy.bundle import Category, PolicyBundle
from topology.policy.lint import RemarkSeverity, lint
from topology.policy.overlays import load_overlay

PAGE = (ROOT / "docs" / "policy-authors.md").read_text("utf-8")
CATEGORY, OVERLAY = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def with_category(*left_out: str) -> PolicyBundle:
    """The shipped policy with the guide's new category, less some of its places."""
    changed = document()
    added = cast("dict[str, Document]", msgspec.yaml.decode(CATEGORY))
    for section, entries in added.items():
        if section not in left_out:
            changed[section] = cast("Document", changed[section]) | entries
    return load(changed)


def test_the_new_category_loads_without_a_warning() -> None:
    made = with_category()
    assert "gambling" in made.categories
    assert not [remark for remark in lint(made) if remark.severity is RemarkSeverity.WARNING]


@pytest.mark.parametrize(
    ("left_out", "path"), [("crosswalk", "crosswalk.gambling"), ("guard_groups", "categories.gambling")]
)
def test_lint_asks_for_each_place_that_is_missing(left_out: str, path: str) -> None:
    warnings = [remark.path for remark in lint(with_category(left_out)) if remark.severity is RemarkSeverity.WARNING]
    assert warnings == [path]


def test_words_that_are_missing_keep_the_category_from_loading() -> None:
    with pytest.raises(PolicyError, match=r"categories\.gambling\.withhold: unknown betting_systems"):
        with_category("withholds")


def test_the_overlay_loads() -> None:
    assert load_overlay(OVERLAY.encode(), bundle(), None).tenant_id == "acme"


def test_every_section_field_and_mode_is_in_the_guide() -> None:
    cells = set(re.findall(r"`(\w+)`", PAGE))
    assert set(PolicyBundle.__struct_fields__) - {"content_hash"} <= cells
    assert {field.encode_name for field in msgspec.structs.fields(Category)} <= cells
    assert {mode.value for mode in bundle().modes} <= cells
