"""What libraries print does not get between the JSON lines, and never loops back into itself."""

import io
import json
import logging
import sys
from contextlib import redirect_stdout

from workers.process.captured_output import prints_as_logs
from workers.telemetry.logs import configure_logging


def test_a_printed_line_becomes_a_log_line() -> None:
    terminal = io.StringIO()
    with redirect_stdout(terminal), prints_as_logs() as out:
        configure_logging("INFO", out)
        print("somebody says")
    (line,) = [json.loads(line) for line in terminal.getvalue().splitlines()]
    assert line["line"] == "somebody says"


def test_what_ray_prints_at_every_start_is_logged_for_who_debugs_alone() -> None:
    for level, count in (("INFO", 0), ("DEBUG", 1)):
        terminal = io.StringIO()
        with redirect_stdout(terminal), prints_as_logs() as out:
            configure_logging(level, out)
            print("WARNING: Token authentication is enabled for this Ray cluster. Set X to opt out.")
        assert len(terminal.getvalue().splitlines()) == count


def test_an_actors_own_log_line_passes_unchanged() -> None:
    terminal = io.StringIO()
    own = '{"ts": "2026-01-01T00:00:00", "level": "INFO"}'
    with redirect_stdout(terminal), prints_as_logs():
        print(f"(Ingress pid=7) {own}")
    assert terminal.getvalue() == own + "\n"


def test_a_log_handler_pointed_at_the_stream_does_not_loop() -> None:
    terminal = io.StringIO()
    with redirect_stdout(terminal), prints_as_logs():
        handler = logging.StreamHandler(sys.stderr)
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            print("round and round")
        finally:
            root.removeHandler(handler)
    assert terminal.getvalue() == ""
