"""The number of examples that properties are tried with: all of them in the long form, a fifth in the short one."""

import os
from typing import Final

from hypothesis import settings

LONG_FORM: Final = os.environ.get("SLUICEGATE_TESTS") == "long"
"""Set by `make test-long`."""

SHORT_SHARE: Final = 5
EXAMPLES_MIN: Final = 40


def examples(count: int) -> settings:
    """Return Hypothesis settings with `count` examples in the long form, and a fifth of them in the short form."""
    return settings(max_examples=count if LONG_FORM else max(EXAMPLES_MIN, count // SHORT_SHARE), deadline=None)
