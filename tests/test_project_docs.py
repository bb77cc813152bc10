"""The documentation does not lie: links resolve, and every command and target it names exists."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from serving.guards.labeler import _COARSE
from serving.guards.linear import LinearModel
from tests.checkout import ROOT
from topology.contract.labels import NONE
from topology.policy.loading import load_bundle
from workers.commands.console.parser import build_parser

SKIPPED = frozenset({".git", ".venv", ".cache", "var", "build", "dist", "node_modules"})
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not SKIPPED & set(path.relative_to(ROOT).parts) and "model_spec" not in path.name
)
NAMED = [path for path in PAGES if path.name != "CHANGELOG.md"]

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
# At the start of a line or span, or after a variable's setting: `apt-get install make …` is not a use of it.
_COMMANDS = re.compile(r"(?:^ *|`|=\S+ )((?:make|sluicegate) [a-z-][^`\n#|)]*)", re.MULTILINE)
_PLACEHOLDER = re.compile(r"^[A-Z-]+$|[<>…\[]")


def _ids(pages: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in pages]


def _anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get, as the common renderers spell them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(page: Path) -> list[str]:
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in _LINK.findall(text) if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_relative_link_resolves(page: Path) -> None:
    for target in _links(page):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target} leads nowhere"
        assert ROOT in (found, *found.parents), f"{target} leads out of the repository"
        if anchor and found.suffix == ".md":
            assert anchor in _anchors(found), f"{target}: no such heading"


def _reachable(start: Path) -> set[Path]:
    found, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for target in _links(page):
            linked = (page.parent / target.partition("#")[0]).resolve() if not target.startswith("#") else page
            if linked.suffix == ".md" and linked.exists() and linked not in found:
                found.add(linked)
                waiting.append(linked)
    return found


def test_every_page_of_the_guides_is_reached_from_the_readme() -> None:
    lost = {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - _reachable(ROOT / "README.md")
    assert not _ids(sorted(lost)), "link these from README.md or from a page that it links"


def _named(page: Path, program: str) -> set[str]:
    """Every use of `make …` or `sluicegate …` in the code blocks and code spans of a page."""
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*(match.group(0) for match in _FENCE.finditer(text)), *_CODE.findall(text), *_indented(text)])
    return {match.strip() for match in _COMMANDS.findall(code) if match.split()[0] == program}


def _indented(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("    ")]


def _make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


@pytest.mark.parametrize("page", NAMED, ids=_ids(NAMED))
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    for use in _named(page, "make"):
        targets = {word for word in use.split()[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
        assert targets <= _make_targets(), f"`{use}`"


def test_every_make_target_says_what_it_is_for() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    described = set(re.findall(r"^([a-z][a-z-]*):.*## \S", makefile, re.MULTILINE))
    assert _make_targets() == described


def _children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a parser's subcommands."""
    return {
        name: child
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, child in action.choices.items()
    }


def _unknown_in(words: list[str]) -> str:
    """The first command or option of a command line that the parser does not know; empty where it knows all."""
    parser = build_parser()
    for word in words:
        options = {option for action in parser._actions for option in action.option_strings}
        if word.startswith("-") and word != "-":
            if word.partition("=")[0] not in options:
                return word
        elif children := _children(parser):
            if _PLACEHOLDER.search(word):
                return ""
            if word not in children:
                return word
            parser = children[word]
    return ""


@pytest.mark.parametrize("page", NAMED, ids=_ids(NAMED))
def test_every_command_and_option_that_is_named_exists(page: Path) -> None:
    for use in _named(page, "sluicegate"):
        words = shlex.split(re.split(r"[|&;>]", use.replace("…", ""))[0], posix=False)[1:]
        assert _unknown_in(words) == "", f"`{use}`"


def test_the_readme_names_every_command() -> None:
    named = {words[1] for use in _named(ROOT / "README.md", "sluicegate") if len(words := use.split()) > 1}
    assert set(_children(build_parser())) <= named


def _untrained_categories() -> set[str]:
    """The policy's categories for which no head of the packaged model speaks."""
    bundle = load_bundle((ROOT / "topology" / "policies" / "safe-completion-core.yaml").read_bytes())
    trained = {category for name in LinearModel.load().names for category in _COARSE.get(name, (name,))}
    return set(bundle.categories) - trained - {NONE}


def test_the_readme_lists_exactly_the_categories_without_a_label_source() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    entry = text.partition("* **Categories without a label source.**")[2].partition("\n* ")[0]
    assert set(re.findall(r"`([a-z_.]+)`", entry)) == _untrained_categories()


def test_the_version_is_the_same_everywhere() -> None:
    declared = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert declared is not None
    assert f"## [{declared[1]}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["topology", "serving", "workers"])
def test_every_module_is_named_in_the_architecture(package: str) -> None:
    """A newcomer finds each module's job on one page."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    assert {name for name in modules if f"`{name}`" not in page} == set()
