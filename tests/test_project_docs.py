"""The documentation does not lie: links resolve, and every command and target it names exists."""

import argparse
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.checkout import ROOT, files, named
from workers.commands.console.parser import build_parser

PAGES = [page for page in files(".md") if "model_spec" not in page.name]
TOLD = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""The pages that tell what is there today; the changelog also tells what was."""

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
# At the start of a line or span, or after a variable's setting: `apt-get install make …` is not a use of it.
_COMMANDS = re.compile(r"(?:^ *|`|=\S+ )((?:make|sluicegate) [a-z-][^`\n#|)]*)", re.MULTILINE)
_PLACEHOLDER = re.compile(r"^[A-Z-]+$|[<>…\[]")


def _anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get, as the common renderers spell them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(page: Path) -> list[str]:
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in _LINK.findall(text) if not re.match(r"[a-z]+:", target)]


def _dead(target: str, page: Path) -> str:
    """Say why a link leads nowhere; empty where it resolves."""
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    if not found.exists():
        return "no such file"
    if ROOT not in (found, *found.parents):
        return "leads out of the repository"
    if anchor and found.suffix == ".md" and anchor not in _anchors(found):
        return "no such heading"
    return ""


def test_every_relative_link_resolves() -> None:
    dead = {f"{named(page)}: {target}": _dead(target, page) for page in PAGES for target in _links(page)}
    assert not {link: why for link, why in dead.items() if why}


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
    assert not sorted(map(named, lost)), "link these from README.md or from a page that it links"


def _uses(program: str, pages: Iterable[Path] = TOLD) -> Iterator[tuple[str, str]]:
    """Yield page and use of every `make …` or `sluicegate …` in code blocks and code spans."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        blocks = (match.group(0) for match in _FENCE.finditer(text))
        code = "\n".join([*blocks, *_CODE.findall(text), *_indented(text)])
        found = {match.strip() for match in _COMMANDS.findall(code) if match.split()[0] == program}
        yield from ((named(page), use) for use in sorted(found))


def _indented(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("    ")]


def _make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def test_every_make_target_that_is_named_exists() -> None:
    targets = _make_targets()
    unknown = [
        f"{page}: `{use}`"
        for page, use in _uses("make")
        if not {word for word in use.split()[1:] if re.fullmatch(r"[a-z][a-z-]*", word)} <= targets
    ]
    assert not unknown


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


def _unknown_in(words: list[str], parser: argparse.ArgumentParser) -> str:
    """Return the first command or option of a command line that the parser does not know; empty where it knows all."""
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


def _words(use: str) -> list[str]:
    """Return a command's words up to the first pipe or redirection, as the shell cuts them."""
    return shlex.split(re.split(r"[|&;>]", use.replace("…", ""))[0], posix=False)[1:]


def test_every_command_and_option_that_is_named_exists() -> None:
    parser = build_parser()
    unknown = {f"{page}: `{use}`": _unknown_in(_words(use), parser) for page, use in _uses("sluicegate")}
    assert not {use: word for use, word in unknown.items() if word}


def test_the_readme_names_every_command() -> None:
    uses = (use.split() for _, use in _uses("sluicegate", [ROOT / "README.md"]))
    assert set(_children(build_parser())) <= {words[1] for words in uses if len(words) > 1}


def test_the_version_is_the_same_everywhere() -> None:
    declared = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert declared is not None
    assert f"## [{declared[1]}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _rooms() -> dict[str, set[str]]:
    """The modules of each room, by the room's folder."""
    rooms: dict[str, set[str]] = {}
    for package in ("topology", "serving", "workers", "helm/monitoring"):
        for path in (ROOT / package).glob("**/*.py"):
            if path.stem not in {"__init__", "__main__"}:
                rooms.setdefault(named(path.parent), set()).add(path.name)
    return rooms


def test_every_module_is_named_in_the_architecture() -> None:
    """A newcomer finds each room, and each module's job in the table of its room; neither outlives its file."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### `(\S+)`\n(.*?)(?=^### |\Z)", page, re.MULTILINE | re.DOTALL)
    told = {
        room: set(re.findall(r"`(\w+\.py)`", "\n".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))))
        for room, table in sections
    }
    assert told == _rooms()


def test_every_file_that_a_page_names_exists() -> None:
    path = re.compile(r"`((?:topology|serving|workers|helm|tests|bench|docs)/[\w./-]+)`")
    lost = [
        f"{named(page)}: {target}"
        for page in TOLD
        for target in path.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / target).exists()
    ]
    assert lost == []


def test_the_answers_to_where_do_i_change_name_files_of_their_rooms() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Where do I change")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [a-z](.*?) \| (.*?) \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) >= 20
    for question, rooms, answer in rows:
        places = [ROOT / room for room in re.findall(r"`(\S+)`", rooms)] or [ROOT]
        for name in re.findall(r"`([\w/]+\.py)`", answer):
            assert any((place / name).exists() for place in [*places, ROOT]), f"{question}: {name}"


def test_every_log_message_that_operators_are_told_to_look_for_is_written() -> None:
    pages = [
        *(ROOT / "docs" / "runbooks").glob("*.md"),
        ROOT / "docs" / "kafka.md",
        ROOT / "docs" / "policy-rollout.md",
    ]
    quoted = {
        re.sub(r"\s+", " ", message)
        for page in pages
        for message in re.findall(r"`([a-z]+(?:\s[a-z,;:]+)+)`", page.read_text(encoding="utf-8"))
        if message.split()[0] not in {"sluicegate", "make", "kubectl", "helm", "topics", "dlq"}
    }
    code = "\n".join(path.read_text(encoding="utf-8") for path in files(".py", below="workers"))
    assert len(quoted) >= 4
    assert not [message for message in sorted(quoted) if f'"{message}' not in code]
