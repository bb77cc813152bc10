"""The table of exit codes: operators find every code in the documentation, and serving keeps to its number."""

import ast
import re

from tests.checkout import ROOT
from workers.process.exit_codes import ExitCode


def test_the_documentation_lists_every_code() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    section = page.partition("## Exit status\n")[2].partition("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert documented == set(ExitCode)


def test_the_engine_ends_its_process_with_the_code_of_the_table() -> None:
    module = ROOT / "serving" / "engine" / "deployment.py"  # read, not imported: it imports Ray and vLLM
    values = [
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXIT_ENGINE_DEAD"
    ]
    assert values == [ExitCode.ENGINE_DEAD]
