"""`sluicegate run` does not start for a model whose turns users could imitate."""

import os
import subprocess
import sys

import pytest

from tests.checkout import ROOT
from tests.observability.served_endpoint import served
from tests.plugins.fake_endpoint import FakeEndpoint, status
from tests.plugins.patience import PATIENCE_S


@pytest.mark.parametrize(("name", "value"), [("MODEL", "instruct"), ("TOKENIZER", "acme/absent")])
def test_a_model_whose_marks_nobody_says_is_refused_before_ray_starts(name: str, value: str) -> None:
    with served(FakeEndpoint(then=status(404))) as url:
        given = {"BASE_URL": url, name: value}
        ended = subprocess.run(
            [sys.executable, "-m", "workers.cli", "run"],
            env=os.environ | {f"SLUICEGATE_GENERATION__{key}": text for key, text in given.items()},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"sluicegate: setting generation.{name.lower()} = '{value}': allowed is a ")
    assert "ray" not in ended.stdout.lower()
