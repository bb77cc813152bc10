"""Types of numeric arguments; each raises ArgumentTypeError, whose message names the text and the bounds."""

import argparse

TIMEOUT_S_MAX = 600.0
RATE_MIN = 0.01
RATE_MAX = 1e6


def count(text: str) -> int:
    """Parse a whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def rate(text: str) -> float:
    """Parse a number per second."""
    found = _number(text)
    if not RATE_MIN <= found <= RATE_MAX:  # true for NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number per second from {RATE_MIN} to {RATE_MAX:g}")
    return found


def seconds(text: str) -> float:
    """Parse a time to wait."""
    found = _number(text)
    if not 0 < found <= TIMEOUT_S_MAX:  # true for NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, at most {TIMEOUT_S_MAX:g}")
    return found


def _number(text: str) -> float:
    """Return the number; 0, which no bound allows, if the text is not a number."""
    try:
        return float(text)
    except ValueError:
        return 0.0
