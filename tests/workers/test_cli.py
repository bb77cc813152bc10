"""The command line without a broker: parsing, help, messages, exit statuses, what is printed for people."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tests.checkout import ROOT
from tests.plugins.otlp_receiver import closed_endpoint
from topology.contract.codec import encode
from topology.contract.events import Action, AuditedResponse, TextPart
from topology.contract.headers import Wire
from topology.contract.labels import Mode
from topology.contract.records import Record
from topology.reference.schema import documents, stale_documents
from workers.cli import main
from workers.commands.console.answers import line_of
from workers.commands.console.parser import build_parser, version_of
from workers.commands.console.terminal import Terminal, printable
from workers.commands.send import problem_of
from workers.commands.tail import response_of
from workers.settings import Settings

COMMANDS = ("demo", "run", "send", "tail", "topics", "check", "schema", "settings")
SECRET = "a-password-that-must-not-show"
RESPONSE = AuditedResponse(
    event_id="e1",
    conversation_id="c1",
    tenant_id="t1",
    action=Action.SAFE_COMPLETED,
    mode=Mode.SAFE_COMPLETION,
    parts=(TextPart(text="one [bold]two[/]\n\x1b[31mthree"),),
    reason_codes=("R1", "R2"),
    policy_ref="p",
    audit_id="a1",
)


@pytest.fixture(autouse=True)
def _only_the_tests_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("SLUICEGATE_", "KAFKA_BOOTSTRAP", "OTEL_EXPORTER")):
            monkeypatch.delenv(name)


def _ended(*arguments: str) -> int:
    """The exit status, also where argparse ends the process itself."""
    try:
        return main(arguments)
    except SystemExit as exc:
        return int(exc.code or 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended(command, "--help") == 0
    assert "--config FILE" in capsys.readouterr().out


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers that no further word follows."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _commands(child)
            return
    yield parser


def test_every_command_names_a_function_that_runs_it() -> None:
    named = {parser.prog: parser.get_default("runs") for parser in _commands(build_parser())}
    assert len(named) > 20
    assert [prog for prog, runs in named.items() if not callable(resolve_name(runs))] == []


def test_the_version_is_unknown_where_the_project_is_not_installed() -> None:
    assert version_of("no-distribution-has-this-name") == "unknown"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("send",),
        ("tail", "--count", "0"),
        ("tail", "--count", "-1"),
        ("demo", "--count", "x"),
        ("check", "--timeout", "0"),
        ("check", "--timeout", "nan"),
        ("check", "--timeout", "inf"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_status_2_and_a_line(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended(*arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("sluicegate")


@pytest.mark.parametrize("arguments", [("--config", "a.toml", "run"), ("run", "--config", "a.toml")], ids=" ".join)
def test_the_settings_file_is_named_before_or_after_the_command(arguments: tuple[str, ...]) -> None:
    assert build_parser().parse_args(arguments).config == Path("a.toml")
    assert build_parser().parse_args(["run"]).config is None


def test_every_wrong_setting_is_a_line_and_no_secret_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICEGATE_KAFKA__SASL_PASSWORD", SECRET)
    monkeypatch.setenv("SLUICEGATE_KAFKA__GROUP", SECRET)
    monkeypatch.setenv("SLUICEGATE_LIMITS__IN_FLIGHT_MAX", "many")
    assert _ended("settings") == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("sluicegate: ") for line in lines)
    assert "did you mean SLUICEGATE_KAFKA__GROUP_ID?" in printed.err
    assert SECRET not in printed.err + printed.out


def test_a_settings_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended("settings", "--config", "nowhere.toml") == 2
    assert "nowhere.toml" in capsys.readouterr().err


def test_a_file_of_events_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended("send", "nowhere.jsonl") == 2
    assert capsys.readouterr().err.splitlines() == ["sluicegate send: nowhere.jsonl: No such file or directory"]


@pytest.mark.parametrize("command", [("tail",), ("topics", "create"), ("send", os.devnull)], ids=" ".join)
def test_brokers_that_are_not_there_are_one_line_with_the_setting(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = closed_endpoint().removeprefix("http://")
    monkeypatch.setenv("SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS", server)
    monkeypatch.setenv("SLUICEGATE_KAFKA__CONNECT_TIMEOUT_S", "1")
    assert _ended(*command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"kafka.bootstrap_servers is {server}" in line


def test_schema_lists_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended("schema") == 0
    assert {f"{name}.json" for name in capsys.readouterr().out.split()} == set(documents())


@pytest.mark.parametrize("name", [*documents()])
def test_schema_prints_what_is_checked_in(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended("schema", name.removesuffix(".json")) == 0
    checked_in = ROOT / "schemas" / name
    assert capsys.readouterr().out == checked_in.read_text(encoding="utf-8")


def test_an_unknown_schema_is_an_error_that_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended("schema", "conversation") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "conversation-event" in printed.err
    assert "asyncapi" in printed.err


def test_schema_writes_them_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended("schema", "--write", str(tmp_path / "new")) == 0
    assert stale_documents(tmp_path / "new") == []
    assert _ended("schema", "asyncapi", "--write", str(tmp_path)) == 2
    assert "no name" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert _ended("schema", "--write", str(tmp_path / "file")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in line


def test_a_line_of_the_user_is_never_quoted() -> None:
    line = json.dumps({"event_id": SECRET, "conversation_id": SECRET, "tenant_id": 7, "messages": [SECRET]}).encode()
    problem = problem_of(line, Settings())
    assert problem is not None
    assert problem.startswith("invalid: $.")
    assert SECRET not in problem
    assert SECRET not in (problem_of(b'{"' + SECRET.encode(), Settings()) or SECRET)


def _record(value: bytes | None, *headers: tuple[str, bytes]) -> Record:
    return Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=b"c1", value=value, headers=headers)


def test_responses_are_read_in_both_notations() -> None:
    packed = _record(encode(RESPONSE, Wire.MSGPACK), ("content-type", b"application/msgpack"))
    assert response_of(_record(encode(RESPONSE))) == response_of(packed) == RESPONSE


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff\xfe", b"[" * 100_000], ids=lambda v: str(v)[:9])
def test_what_is_no_response_is_none(value: bytes | None) -> None:
    assert response_of(_record(value)) is None


def test_a_response_is_one_line_that_cannot_steer_a_terminal() -> None:
    line = line_of(RESPONSE).plain
    assert line.split() == [
        "safe_completed",
        "safe_completion",
        "c1",
        "e1",
        "R1,R2",
        "one",
        "[bold]two[/]",
        "�[31mthree",
    ]
    assert line.isprintable()


def test_printable_text_is_cut_and_keeps_what_languages_need() -> None:
    assert printable("a\tb\n c\u202e", 10) == "a b c�"
    assert printable("می\u200cروم", 10) == "می\u200cروم"
    assert printable("abcdef", 4) == "abc…"


def test_what_is_printed_is_neither_markup_nor_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().say("['a'] [red]b " + "c" * 300, "red")
    assert capsys.readouterr().out == "['a'] [red]b " + "c" * 300 + "\n"


def test_a_reader_that_went_away_ends_a_command_quietly() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys, time; time.sleep(0.5); from workers.cli import main; sys.exit(main())",
    ]
    with subprocess.Popen([*command, "settings"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141
