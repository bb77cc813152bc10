"""The entry point of the command line: parse, load settings, call the function of the chosen command."""

import os
import sys
from collections.abc import Sequence

from topology.contract.errors import PolicyError, SettingsError, SluicegateError
from workers.commands.console.parser import build_parser
from workers.commands.console.subcommands import command_of, help_wanted, title_of
from workers.commands.console.usage_error import WrongUse
from workers.process.exit_codes import ExitCode
from workers.settings import InvalidSettings, Settings, load_settings
from workers.supervision.ray_session import prepare_ray


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 2 wrong use or settings, 130 and 141 by signal.

    An expected failure is one line on standard error for each problem; a traceback is a bug.
    """
    arguments = build_parser().parse_args(argv)
    if (parser := help_wanted(arguments)) is not None:
        parser.print_help()
        return ExitCode.WRONG_USE
    settings = Settings()
    try:
        settings = load_settings(arguments.config, os.environ)
        prepare_ray(settings.ray)
        status = command_of(arguments)(arguments, settings)
        sys.stdout.flush()  # inside the block, so that a reader that closed the pipe is noticed
    except KeyboardInterrupt:
        status = _failed("interrupted", status=ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = ExitCode.BROKEN_PIPE
    except InvalidSettings as exc:
        status = _failed(*map(str, exc.problems), status=ExitCode.WRONG_USE)
    except WrongUse as exc:
        status = _failed(str(exc), of=f" {title_of(arguments)}", status=ExitCode.WRONG_USE)
    except (SettingsError, PolicyError) as exc:
        status = _failed(str(exc), status=ExitCode.WRONG_USE)
    except SluicegateError as exc:
        status = _failed(_explained(exc, settings))
    except OSError as exc:
        status = _failed(_os_error(exc))
    return status


def _failed(*problems: str, of: str = "", status: int = ExitCode.FAILED) -> int:
    for problem in problems:
        print(f"sluicegate{of}: {problem}", file=sys.stderr)
    return status


def _explained(error: SluicegateError, settings: Settings) -> str:
    from workers.kafka.errors import KafkaUnavailable  # the client library is loaded already if it raised this error

    if not isinstance(error, KafkaUnavailable):
        return str(error)
    servers = ", ".join(settings.kafka.bootstrap_servers)
    return f"{error}; kafka.bootstrap_servers is {servers}; `sluicegate check` says more"


def _os_error(error: OSError) -> str:
    named = f"{error.filename}: " if error.filename else ""
    return f"{named}{error.strerror or str(error) or type(error).__name__}"


if __name__ == "__main__":
    sys.exit(main())
