"""Everything a client may meet, met with OpenAI's clients: docs/door.md has it as a table.

The client for Python is asked in every run, the one for JavaScript in the long form, which installs it by its lock.
"""

import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.checkout import ROOT
from tests.plugins.door_cases import REFUSED_FIELDS, Met, cases, door_of_cases, met_in_python, table
from workers.door.fields import FIELDS, Treatment

NPM_CLIENT = ROOT / "tests" / "data" / "npm_client"
PAGE = ROOT / "docs" / "door.md"
MARK = "<!-- Met in tests/workers/door/test_official_clients.py -->\n\n"
TOOL_SECONDS_MAX = 300


def on_the_page() -> str:
    return PAGE.read_text("utf-8").split(MARK)[1].split("\n\n")[0] + "\n"


def without_last_column(made: str) -> list[str]:
    return [line[: line.rstrip("|").rindex("|")] for line in made.splitlines()]


def test_the_python_client_meets_what_the_page_says(tmp_path: Path) -> None:
    with door_of_cases(tmp_path) as url:
        met = [met_in_python(url, case) for case in cases()]
    assert without_last_column(table([(each, None) for each in met])) == without_last_column(on_the_page())


def test_each_refused_field_is_a_case() -> None:
    refused = {field.name for field in FIELDS if field.treatment is Treatment.REFUSED}
    assert set(REFUSED_FIELDS) == refused


def npm_client(folder: Path) -> Path:
    """The client of package-lock.json, installed by its hash, and the program that asks with it."""
    for each in NPM_CLIENT.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    return folder


@pytest.mark.slow
@pytest.mark.install
def test_the_javascript_client_meets_the_same(tmp_path: Path) -> None:
    folder = npm_client(tmp_path)
    with door_of_cases(tmp_path) as url:
        in_python = [met_in_python(url, case) for case in cases()]
    (folder / "cases.json").write_bytes(msgspec.json.encode(cases()))
    with door_of_cases(tmp_path) as url:
        said = _run("node", "ask.mjs", url, "cases.json", cwd=folder)
    met = [msgspec.json.decode(line, type=Met) for line in said.splitlines()]
    made = table(list(zip(in_python, met, strict=True)))
    print(made)
    assert made == on_the_page()
    different = [
        (one, other)
        for one, other in zip(in_python, met, strict=True)
        if msgspec.structs.replace(one, raised="") != msgspec.structs.replace(other, raised="")
    ]
    assert different == []


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=TOOL_SECONDS_MAX)
    assert done.returncode == 0, f"{command[0]}: {(done.stdout + done.stderr)[-2000:]}"
    return done.stdout
