"""`sluicegate policy keygen`: a new Ed25519 key pair. The private half goes into a file, the public half is printed."""

import argparse
import os
import sys

from workers.policy.signing import new_private_key, public_half
from workers.settings import Settings

ONLY_OWNER = 0o600


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the key; a file that is there already is an error, for it may hold the key that is in use."""
    del settings
    pem = new_private_key()
    with os.fdopen(os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_OWNER), "wb") as file:
        file.write(pem)
    sys.stdout.write(public_half(pem) + "\n")
    return 0
