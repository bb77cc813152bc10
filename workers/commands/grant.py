"""`sluicegate grant sign` and `verify`: make a grant that workers accept, and say why they refuse one."""

import argparse
import sys
from collections.abc import Mapping
from typing import Final

import msgspec

from topology.contract.errors import SettingsError
from topology.contract.events import Grant
from topology.policy.documents import read_document
from topology.policy.signatures import UNDOMAINED_REASON
from workers.commands.console.terminal import Terminal
from workers.commands.console.times import coming_ms, shown
from workers.commands.console.usage_error import WrongUse
from workers.policy.grants import grant_verifier, sign_grant
from workers.policy.signing import private_key, public_half
from workers.process.clock import SystemClock
from workers.settings import Settings

FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(Grant))
TIMES: Final = ("not_before", "not_after")


def sign(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the signed grant, or write it to a file. Raises WrongUse, which names the field that is wrong."""
    pem = arguments.key.read_bytes()
    key = private_key(pem)
    known = settings.grants.keys.get(arguments.key_id)
    if known is not None and known != public_half(pem):
        raise SettingsError("--key", "another key", f"the private half of grants.keys.{arguments.key_id}")
    text = msgspec.json.encode(sign_grant(_asked(arguments), key)).decode() + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text)
    return 0


def verify(arguments: argparse.Namespace, settings: Settings) -> int:
    """Say what becomes of a grant; 1 if it does not count."""
    grant = _grant(read_document(arguments.file.read_bytes(), "grant"))
    at_ms = _time("--at", arguments.at, SystemClock().now_ms())
    tenant = grant.tenant if arguments.tenant is None else arguments.tenant
    subject = grant.subject if arguments.subject is None else arguments.subject
    status = grant_verifier(settings).status(grant, tenant, subject, at_ms)
    is_used = status == "used"
    Terminal().say(f"{status}: {_explained(status, grant)}", "green" if is_used else "bold red")
    return 0 if is_used else 1


def _asked(arguments: argparse.Namespace) -> Grant:
    """Return the unsigned grant that the options and the file describe; options win."""
    now_ms = SystemClock().now_ms()
    fields: dict[str, object] = {"not_before": now_ms}
    if arguments.file is not None:
        fields |= read_document(arguments.file.read_bytes(), "grant")
    given = {name: getattr(arguments, name) for name in FIELDS if getattr(arguments, name, None) is not None}
    fields |= given | {name: _time(_option(name), given[name], now_ms) for name in TIMES if name in given}
    grant = _grant(fields | {"signature": ""})
    if grant.not_after <= grant.not_before:
        raise WrongUse(
            "not_after", shown(grant.not_after), f"a time after not_before, which is {shown(grant.not_before)}"
        )
    return grant


def _grant(fields: Mapping[str, object]) -> Grant:
    """Return the grant with these fields. Raises WrongUse with the name of the first that is wrong."""
    for name in fields:
        if name not in FIELDS:
            raise WrongUse(str(name), "", f"no field of a grant; it has {', '.join(FIELDS)}")
    for name in FIELDS:
        if name not in fields:
            raise WrongUse(name, "", f"is missing; give {_option(name)}, or the field in FILE")
    try:
        return msgspec.convert(fields, Grant)
    except msgspec.ValidationError as exc:  # such as: Expected `int`, got `str` - at `$.not_after`
        what, _, path = str(exc).partition(" - at `$.")
        raise WrongUse(path.rstrip("`") or "FILE", "", what) from exc


def _time(option: str, text: str, now_ms: int) -> int:
    try:
        return coming_ms(text, now_ms)
    except ValueError as exc:
        raise WrongUse(option, "", str(exc)) from exc


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _explained(status: str, grant: Grant) -> str:
    """Return why a grant has that status, beginning with the field that decided it."""
    return {
        "used": f"{grant.grant} for {grant.subject} of {grant.tenant}, until {shown(grant.not_after)}",
        "unknown_key": f"key_id: grants.keys has no {grant.key_id}",
        "altered": f"signature: {grant.key_id} did not sign these fields",
        "undomained": f"signature: {UNDOMAINED_REASON} with `sluicegate grant sign`",
        "foreign": f"tenant, subject: it is for {grant.subject or 'nobody'} of {grant.tenant}",
        "not_yet_valid": f"not_before: it begins {shown(grant.not_before)}",
        "expired": f"not_after: it ended {shown(grant.not_after)}",
    }[status]
