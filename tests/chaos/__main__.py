"""Chaos on real Kafka with plain worker processes; or, with --recovery, how soon a killed worker's partitions go on.

    python -m tests.chaos --faults 200
    python -m tests.chaos --frames 200          disturbs so many requests of each kind on their way to the broker, too
    python -m tests.chaos --dir var/chaos/1     goes on with what was interrupted there

Exit code 0 where everything sent was answered once, in key order, audited and committed.
"""

import argparse
import logging
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tests.chaos.faults import SHORT_ORDER, FaultKind
from tests.chaos.progress import Progress, load_progress, save_progress
from tests.chaos.report import summary
from tests.chaos.run import Plan, Run
from tests.chaos.world import World, choose_port

KEYS = 300
LONG = Plan(faults=200, seconds=4 * 3600.0, wait_s=(1.5, 5.0), calm_s=20.0)
SHORT = Plan(faults=len(SHORT_ORDER), seconds=600.0, wait_s=(0.7, 1.6), calm_s=2.0, is_short=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the summary; returns the exit code."""
    options = _options(arguments)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    directory = options.dir or Path("var/chaos") / time.strftime("%Y%m%d-%H%M%S")
    directory.mkdir(parents=True, exist_ok=True)
    progress = load_progress(directory) or Progress(
        seed=options.seed if options.seed is not None else secrets.randbelow(1_000_000),
        workers=options.workers,
        session_s=options.session or (6.0 if options.short else 10.0),
        rate_s=options.rate,
        port=choose_port(),
    )
    progress.session += 1
    save_progress(directory, progress)
    say = speaker()
    say(f"seed {progress.seed}, directory {directory}, session {progress.session}")
    if options.recovery:
        from tests.chaos.recovery import measure_recovery

        return measure_recovery(directory, progress, KEYS, say)
    return run(directory, progress, _plan(options), say)


def run(directory: Path, progress: Progress, plan: Plan, say: Callable[[str], None]) -> int:
    """A run; its summary is printed and stays in `directory`."""
    world = World(directory, progress, KEYS, say, is_stormy=plan.frames > 0)
    try:
        result = Run(world, plan, say).go()
    finally:
        world.close()
    (directory / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    lines = summary(result)
    (directory / "result.txt").write_text("\n".join(lines) + "\n")
    say("\n".join(["", *lines]))
    say("exactly once, in key order, audited" if result.is_clean else f"NOT CLEAN: seed {result.seed}, {directory}")
    return 0 if result.is_clean else 1


def speaker(interval_s: float = 5.0) -> Callable[[str], None]:
    """Prints lines; those that begin with a carriage return overwrite each other, or come at intervals into a file."""
    last_s = 0.0

    def say(text: str) -> None:
        nonlocal last_s
        if not text.startswith("\r"):
            sys.stdout.write(text + "\n")
        elif sys.stdout.isatty():
            sys.stdout.write(text)
        elif time.monotonic() - last_s >= interval_s:
            last_s = time.monotonic()
            sys.stdout.write(text[1:] + "\n")
        sys.stdout.flush()

    return say


def _plan(options: argparse.Namespace) -> Plan:
    plan = SHORT if options.short else LONG
    changes: dict[str, object] = {
        name: given for name in ("faults", "seconds", "frames") if (given := getattr(options, name)) is not None
    }
    if options.wait is not None:
        changes["wait_s"] = (options.wait * 0.7, options.wait * 1.3)
    if options.kinds:
        changes["kinds"] = tuple(FaultKind[name] for name in options.kinds.split(","))
    return msgspec.structs.replace(plan, **changes)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Chaos on real Kafka.")
    parser.add_argument("--faults", type=int, help="faults before it ends (200; short form: 10)")
    parser.add_argument("--frames", type=int, help="requests of each kind that are late, cut off or doubled (0)")
    parser.add_argument("--kinds", help=f"of faults: names out of {', '.join(kind.name for kind in FaultKind)} (all)")
    parser.add_argument("--seconds", type=float, help="time after which it ends anyway")
    parser.add_argument("--wait", type=float, help="about how many seconds between two faults (3; short form: 1)")
    parser.add_argument("--workers", type=int, default=3, help="slots of a generation (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second (default: %(default)s)")
    parser.add_argument("--session", type=float, help="session timeout in seconds (10; short form: 6)")
    parser.add_argument("--seed", type=int, help="of faults and load; chosen and printed where not given")
    parser.add_argument("--dir", type=Path, help="where everything is kept; goes on with what is there")
    parser.add_argument(
        "--short", action="store_true", help=f"{len(SHORT_ORDER)} faults, within a minute on idle cores"
    )
    parser.add_argument("--recovery", action="store_true", help="measure how soon a killed worker's partitions go on")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
