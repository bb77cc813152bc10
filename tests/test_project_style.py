"""What a linter does not check: lengths, leftovers, machine paths, and a reason wherever everything is caught."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from statistics import median

from tests.checkout import ROOT, files, named

CODE = ("topology", "serving", "workers", "bench", "tests")
PACKAGES = ("topology", "serving", "workers")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
FOLDER_MODULES_MAX = 14
FOLDER_MODULES_MEDIAN_MAX = 8

TEXT_SUFFIXES = (".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".in", ".sh", ".xml", ".json", ".cfg")
BARE_TEXTS = (ROOT / "Makefile", ROOT / ".ci" / "run")

SPEC_TEXT = "model_spec"
"""The name of a text that is carried byte for byte; what it says is not for the project to change."""

# Put together here so that this file does not contain what it looks for.
LEFTOVERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
MACHINE_PATHS = re.compile(r"(?<![\w.:$}/-])/(" + "|".join(("work", "root", "home", "Users", "farm")) + r")/\w")
ODD_WORDS = re.compile(
    r"\b(" + "|".join(("mani" + "eth", "when" + "ce", "thi" + "ther", "nou" + "ght")) + r")\b", re.IGNORECASE
)
OUTSIDE = re.compile(r"\.\./" + "shared")
REGISTRIES = re.compile(r"https?://[\w.-]*(" + "|".join(("pypi", "pythonhosted", r"repo1?\.maven", "npmjs")) + ")")


@cache
def texts() -> dict[Path, str]:
    """Return every text of the project, but what is carried byte for byte."""
    paths = [*BARE_TEXTS, *(path for path in files(*TEXT_SUFFIXES) if SPEC_TEXT not in path.name)]
    return {path: path.read_text(encoding="utf-8") for path in paths}


@cache
def trees() -> dict[Path, ast.Module]:
    """Return the syntax tree of every module."""
    return {path: ast.parse(texts()[path], named(path)) for package in CODE for path in files(".py", below=package)}


def _shown(path: Path, line: int) -> str:
    return f"{named(path)}:{line}"


def _found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{_shown(path, number)}: {match.group()}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]


def test_a_module_stops_at_400_lines() -> None:
    long = {named(path): texts()[path].count("\n") for path in trees()}
    assert not {name: lines for name, lines in long.items() if lines > MODULE_LINES_MAX}, "split these by meaning"


def test_a_function_stops_at_50_lines() -> None:
    long = [
        f"{_shown(path, node.lineno)} {node.name}: {length} lines"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, "split these by meaning"


def test_a_module_says_what_it_does() -> None:
    assert not [named(path) for path, tree in trees().items() if not ast.get_docstring(tree)]


def test_a_folder_stops_at_14_modules() -> None:
    """A room is read as a list of names: the longest fits a screen, and most are short."""
    modules = [path for path in trees() if path.name != "__init__.py" and path.relative_to(ROOT).parts[0] in PACKAGES]
    counts = Counter(named(path.parent) for path in modules)
    assert not {folder: count for folder, count in counts.items() if count > FOLDER_MODULES_MAX}, "split by meaning"
    assert median(counts.values()) <= FOLDER_MODULES_MEDIAN_MAX


def test_words_are_those_that_are_in_use() -> None:
    assert not _found(ODD_WORDS)


def test_nothing_is_left_for_later() -> None:
    assert not _found(LEFTOVERS)


def test_no_file_names_a_path_of_some_machine() -> None:
    assert not _found(MACHINE_PATHS)


def test_nothing_reads_outside_the_repository() -> None:
    assert not _found(OUTSIDE)


def test_no_file_names_a_package_registry() -> None:
    assert not _found(REGISTRIES)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or bool(re.search(r"\b(Base)?Exception\b", ast.unparse(handler.type)))


def _has_reason(lines: list[str], handler: ast.ExceptHandler) -> bool:
    """A comment on the line itself, beyond the linter's code, or on the line before or after it."""
    on_line = lines[handler.lineno - 1].partition("#")[2]
    reason = re.sub(r"noqa: [A-Z0-9, ]+", "", on_line).strip(" -:")
    around = (lines[handler.lineno - 2], lines[handler.lineno]) if handler.lineno < len(lines) else ()
    return bool(reason) or any(line.strip().startswith("#") for line in around)


def _is_passed_on(handler: ast.ExceptHandler) -> bool:
    """Whether the handler's last statement raises: then nothing is swallowed."""
    return isinstance(handler.body[-1], ast.Raise)


def test_catching_everything_is_passed_on_or_gives_its_reason() -> None:
    silent = [
        _shown(path, node.lineno)
        for path, tree in trees().items()
        if path.relative_to(ROOT).parts[0] in PACKAGES
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _is_passed_on(node)
        if not _has_reason(texts()[path].splitlines(), node)
    ]
    assert not silent, "say in a comment why everything is caught here"
