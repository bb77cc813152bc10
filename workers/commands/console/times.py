"""Times and positions as people type them: `2h`, `2026-03-01T12:00Z`, `0:17,1:20`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
POSITIONS_MAX = 10_000

TIME_FORMS = "an ISO 8601 time (2026-03-01T12:00Z; without a zone it is UTC) or a duration ago (90s, 30m, 2h, 7d, 1w)"
COMING_FORMS = "an ISO 8601 time (2026-03-01T12:00Z; without a zone it is UTC) or a duration from now (2h, 7d, 52w)"
POSITION_FORMS = "PARTITION:OFFSET[,PARTITION:OFFSET…], each partition once"

_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_POSITION = re.compile(r"([0-9]{1,10}):([0-9]{1,19})")

Moment = int | Mapping[int, int]
"""A time in Unix epoch milliseconds, or an offset for each partition."""


def time_ms(text: str, now_ms: int) -> int:
    """Parse a time into Unix epoch milliseconds. Raises ValueError, with the text in its message."""
    if found := _DURATION.fullmatch(text):
        return now_ms - int(found[1]) * UNITS_S[found[2]] * 1000
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        milliseconds = int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        milliseconds = -1
    if milliseconds < 0:
        raise ValueError(f"{text!r} is not {TIME_FORMS}")
    return milliseconds


def coming_ms(text: str, now_ms: int) -> int:
    """Parse a time, or a duration from now, into Unix epoch milliseconds. Raises ValueError, with the text in it."""
    if found := _DURATION.fullmatch(text):
        return now_ms + int(found[1]) * UNITS_S[found[2]] * 1000
    try:
        return time_ms(text, now_ms)
    except ValueError:
        raise ValueError(f"{text!r} is not {COMING_FORMS}") from None


def position(text: str) -> tuple[int, int]:
    """Parse (partition, offset). Raises ValueError, with the text in its message."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not PARTITION:OFFSET, as in 0:17")
    return int(found[1]), int(found[2])


def moment(text: str, now_ms: int) -> Moment:
    """Parse a time, or one offset for each partition named. Raises ValueError, with the text in its message."""
    if not _POSITION.match(text):
        try:
            return time_ms(text, now_ms)
        except ValueError:
            raise ValueError(f"{text!r} is neither {TIME_FORMS} nor {POSITION_FORMS}") from None
    if text.count(",") < POSITIONS_MAX:
        try:
            pairs = [position(part) for part in text.split(",")]
        except ValueError:
            pairs = []
        if pairs and len(dict(pairs)) == len(pairs):
            return dict(pairs)
    raise ValueError(f"{text!r} is not {POSITION_FORMS}")


def shown(timestamp_ms: int) -> str:
    """Return a time for people, in UTC, to the second; a dash for a time outside the calendar."""
    try:
        moment = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return "-"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
