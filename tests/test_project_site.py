"""The documentation builds as a site: strictly, without network, with every page in its place."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.checkout import ROOT

DOCS = ROOT / "docs"
SITE_SECONDS_MAX = 300
KINDS = ("Tutorial", "How to", "Reference", "Explanation")
DEAD_PROXY = "http://127.0.0.1:9"
"""Nothing listens there: whoever asks another host is refused at once."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode: a warning is an error."""
    tool = ROOT / "var" / "tools" / "docs" / "bin" / "mkdocs"
    made = subprocess.run(
        ["sh", ROOT / "requirements" / "tool.sh", "docs"],
        check=False,
        capture_output=True,
        text=True,
        timeout=SITE_SECONDS_MAX,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    folder = tmp_path_factory.mktemp("site")
    closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), DEAD_PROXY)
    environment = {**os.environ, **closed, "NO_MKDOCS_2_WARNING": "1"}
    command = [tool, "build", "--strict", "--site-dir", folder]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=SITE_SECONDS_MAX
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _nav() -> str:
    return (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]


def test_a_page_loads_nothing_from_another_host(site: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)'
        r'|<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?:[^"]+)'
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 40
    assert not [f"{page.name}: {found[0]}" for page in pages for found in loads.finditer(page.read_text("utf-8"))]


def test_every_page_is_in_one_of_four_kinds() -> None:
    assert tuple(re.findall(r"^  - ([A-Z][A-Za-z ]+):$", _nav(), re.MULTILINE)) == KINDS
    there = set(re.findall(r"([\w-]+\.md)$", _nav(), re.MULTILINE))
    assert {page.name for page in DOCS.glob("*.md")} <= there
    unwritten = {name for name in there if not (DOCS / name).exists()} - {"README.md"}
    assert unwritten <= {"chat-service.md", "reason-codes.md"}


def test_the_ports_are_on_their_page_with_what_they_say(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    ports = re.findall(r"^class (\w+)\(Protocol", (ROOT / "topology" / "ports.py").read_text("utf-8"), re.MULTILINE)
    assert len(ports) >= 5
    assert not [port for port in ports if f'id="topology.ports.{port}"' not in page]
    assert "A clock, passed as an argument wherever time is read." in page


def test_language_models_find_every_page(site: Path) -> None:
    told = (site / "llms.txt").read_text(encoding="utf-8")
    assert told.startswith("# Sluicegate\n\n> ")
    for kind in KINDS:
        assert f"\n## {kind}\n" in told
    for target in re.findall(r"\]\(([^)]+)\)", told):
        assert (site / target).is_file()
    assert all(f"({page.stem}.html)" in told for page in DOCS.glob("*.md") if page.stem != "index")


def test_pages_outside_of_the_folder_are_on_the_site_too(site: Path) -> None:
    assert (site / "project" / "SECURITY.html").is_file()
    assert 'href="project/helm/sluicegate/README.html"' in (site / "operators.html").read_text(encoding="utf-8")
