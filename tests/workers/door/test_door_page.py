"""The page of the door lists every field as the door treats it."""

from tests.checkout import ROOT
from workers.door.fields import CHECK_FIELDS, FIELDS, MESSAGE_FIELDS, rows, tables


def test_the_page_has_the_tables_of_the_code() -> None:
    page = (ROOT / "docs" / "door.md").read_text(encoding="utf-8")
    assert all(rows(table) in page for table in (FIELDS, MESSAGE_FIELDS, CHECK_FIELDS))
    assert all(rows(table) in tables() for table in (FIELDS, MESSAGE_FIELDS, CHECK_FIELDS))
