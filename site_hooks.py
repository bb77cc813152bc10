"""What MkDocs does not know of this repository: pages outside of docs/, pages that are not written yet, and llms.txt.

Pages of docs/ link to files elsewhere, as they must to read well in the repository. A page elsewhere (SECURITY.md, the
chart's README) becomes a page of the site below `project/`; any other file is named in place of the link.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent
DOCS = ROOT / "docs"
PROJECT = "project"

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FIRST_SENTENCE = re.compile(r"^(?![#|`<!>*-]|\s)(.+?[.:])(?:\s|$)", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """Leave pages out of the navigation that have a place there and are not written yet."""
    config.nav = _written(config.nav)
    return config


def _written(nav: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for entry in nav:
        target = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(target, list):
            kept.append({next(iter(entry)): _written(target)})
        elif (DOCS / target).exists():
            kept.append(entry)
    return kept


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that docs/ links to outside of itself, and llms.txt."""
    for path in sorted(set(_outside_pages())):
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, f"{PROJECT}/{path}", content=_relinked(text, path, f"{PROJECT}/{path}")))
    files.append(File.generated(config, "llms.txt", content=llms_text(config.nav)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links that leave docs/ into links to their page of the site, or into the name of the file."""
    source = page.file.src_uri
    return markdown if source.startswith(f"{PROJECT}/") else _relinked(markdown, f"docs/{source}", source)


def llms_text(nav: list[Any]) -> str:
    """Return the index for language models: each page with its first sentence, by section."""
    lines = ["# Sluicegate", "", "> A guardrails stream processor for chat, on Kafka, Ray and vLLM.", ""]
    for entry in nav:
        if isinstance(entry, dict):
            title, pages = next(iter(entry.items()))
            lines += [f"## {title}", ""]
            lines += [_llms_line(page) for page in pages]
            lines.append("")
    return "\n".join(lines)


def _llms_line(entry: Any) -> str:
    path = next(iter(entry.values())) if isinstance(entry, dict) else entry
    text = (DOCS / path).read_text(encoding="utf-8")
    title = text.partition("\n")[0].removeprefix("# ")
    first = _FIRST_SENTENCE.search(text.partition("\n")[2])
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(first[1].split())) if first else ""
    return f"- [{title}]({path.removesuffix('.md')}.html): {words}"


def _outside_pages() -> Iterator[str]:
    for page in sorted(DOCS.rglob("*.md")):
        for link in _LINK.finditer(page.read_text(encoding="utf-8")):
            target = _target(page.relative_to(ROOT).as_posix(), link[2])
            if _is_outside_page(target):
                yield target


def _is_outside_page(target: str) -> bool:
    return target.endswith(".md") and not target.startswith("docs/") and (ROOT / target).is_file()


def _target(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _relinked(markdown: str, path: str, uri: str) -> str:
    """Return the page at `path` with its links as they are at `uri` of the site."""
    pages = set(_outside_pages())

    def moved(link: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", link[2]):
            return link[0]
        target = _target(path, link[2])
        if target in pages:
            there = f"{PROJECT}/{target}"
        elif target.startswith("docs/") and (ROOT / target).is_file() and "/monitoring/" not in target:
            there = target.removeprefix("docs/")
        else:
            return f"{link[1]} (`{target}`)" if link[1].strip("`") != target else f"`{target}`"
        return f"[{link[1]}]({posixpath.relpath(there, posixpath.dirname(uri) or '.')}{link[3] or ''})"

    return _LINK.sub(moved, markdown)
