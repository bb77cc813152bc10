"""The exit codes of every process of this project, in one table; `docs/commands.md` explains them to operators."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The reason why a process ended."""

    DONE = 0
    FAILED = 1
    """The command could not do its task, or a check found something."""
    WRONG_USE = 2
    """The arguments, the settings or a document are wrong. argparse uses the same number."""
    OUTCOME_UNKNOWN = 70
    """Nobody in the process can tell whether a transaction was committed; the restarted process finds out."""
    STAGE_STUCK = 71
    """A stage hangs on threads that cannot be stopped: the process is replaced."""
    ENGINE_DEAD = 72
    """The vLLM engine of a Ray Serve replica died. serving/engine/deployment.py has the number, as serving imports
    nothing from workers."""
    INTERRUPTED = 130
    """SIGINT ended a command, as a shell reports it."""
    BROKEN_PIPE = 141
    """The reader of a command's output went away, as a shell reports SIGPIPE."""
