"""`sluicegate policy` run in this process, on policies made from the packaged one by changing single values."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from topology.policy.loading import packaged_bundle
from workers.cli import main

Document = dict[str, Any]


class PolicyDesk:
    """Runs commands, and writes policies into `folder`."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Status, standard output, standard error."""
        self._capsys.readouterr()
        try:
            status = main(["policy", *arguments])
        except SystemExit as exc:
            status = int(exc.code or 0)
        ended = self._capsys.readouterr()
        return status, ended.out, ended.err

    def policy(self, name: str, changes: Mapping[str, object] | None = None) -> str:
        """The path of a policy in which each path of `changes`, with slashes, has another value; None takes it out."""
        document: Document = msgspec.to_builtins(packaged_bundle())
        del document["content_hash"]
        for path, value in (changes or {}).items():
            place, key = document, path
            while "/" in key:
                head, _, key = key.partition("/")
                place = place[head]
            if value is None:
                del place[key]
            else:
                place[key] = value
        (self.folder / name).write_text(json.dumps(document))
        return str(self.folder / name)

    def file(self, name: str, text: str) -> str:
        """The path of a file with that text."""
        (self.folder / name).write_text(text)
        return str(self.folder / name)
