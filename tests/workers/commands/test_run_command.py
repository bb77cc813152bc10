"""`sluicegate run` says before Ray starts what no worker could start with, and a lone command how to go on."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.observability.served_endpoint import served
from tests.plugins.fake_endpoint import FakeEndpoint, status
from tests.plugins.patience import PATIENCE_S
from workers import cli


@pytest.mark.parametrize(("name", "value"), [("MODEL", "instruct"), ("TOKENIZER", "acme/absent")])
def test_a_model_whose_marks_nobody_says_is_refused_before_ray_starts(name: str, value: str) -> None:
    with served(FakeEndpoint(then=status(404))) as url:
        line = _refused({"GENERATION__BASE_URL": url, f"GENERATION__{name}": value})
    assert line.startswith(f"sluicegate: generation.{name.lower()} = '{value}': must be a ")


def test_a_policy_that_is_not_there_or_must_not_be_loaded_is_refused_before_ray_starts(tmp_path: Path) -> None:
    absent = tmp_path / "policy.yaml"
    assert (
        _refused({"POLICY__BUNDLE": str(absent)}) == f"sluicegate: policy.bundle = '{absent}': must be an existing file"
    )
    absent.write_text("id: 3\n", "utf-8")
    assert _refused({"POLICY__BUNDLE": str(absent)}).startswith("sluicegate: ")


@pytest.mark.parametrize(("words", "named"), [([], "COMMAND"), (["policy"], "explain")])
def test_without_a_command_or_verb_the_help_is_printed(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    printed = capsys.readouterr()
    assert named in printed.out
    assert not printed.err


def _refused(given: Mapping[str, str]) -> str:
    """Return the one line with which `run` under these settings ends, with status 2."""
    ended = subprocess.run(
        [sys.executable, "-m", "workers.cli", "run"],
        env=os.environ | {f"SLUICEGATE_{key}": text for key, text in given.items()},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "ray" not in ended.stdout.lower()
    return line
