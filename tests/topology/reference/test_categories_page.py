"""The page of categories is what the policy says."""

from tests.checkout import ROOT
from tests.topology.decision.policy_world import bundle
from topology.reference.categories_page import page

PAGE = ROOT / "docs" / "categories.md"


def test_the_page_is_current() -> None:
    """Where it is not: `python -m topology.reference.categories_page > docs/categories.md`."""
    assert PAGE.read_text("utf-8") == page(bundle())


def test_every_category_has_a_line_in_every_table() -> None:
    rows = [line.partition("|")[2].partition("|")[0].strip() for line in page(bundle()).splitlines()]
    assert all(rows.count(f"`{name}`") == 3 for name in bundle().categories)
