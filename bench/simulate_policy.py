"""The time of `sluicegate policy simulate` over recorded decisions: `python -m bench.simulate_policy`.

The decisions are made up from a seed: requests and drafts of every kind, judged by the packaged policy. The candidate
lowers one ceiling and raises another.
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from topology.contract.codec import encode
from topology.contract.events import Action, Attempt, AuditRecord, LoggedText, Position, Usage
from topology.contract.labels import (
    AgeBand,
    CategoryId,
    Context,
    GuardRun,
    Intent,
    LabelerIdentity,
    Outcome,
    OutputFinding,
    OutputLabels,
    RequestFinding,
    RequestLabels,
    Verdict,
    VerdictKind,
)
from topology.contract.names import DraftSource
from topology.decision.recompute import recompute
from topology.policy.bundle import PolicyBundle
from topology.policy.loading import packaged_bundle
from topology.policy.overlays import STRICTEST
from topology.steps.withholding import NOTHING_PLANNED
from workers.cli import main as sluicegate

SEED = 7
HARMLESS_SHARE = 0.6
"""Of requests in which nothing is found; of the others every fourth has two findings."""
TEXT = LoggedText(redacted="words " * 100, spans=(), digest="hmac-sha256:k1:" + "0" * 64)
GUARDS = tuple(
    GuardRun(guard=name, version="1", outcome=Outcome.OK, latency_ms=1.25)
    for name in ("classification", "bias", "logging")
)
UNJUDGED = Verdict(verdict=VerdictKind.PUBLISH, rule_ids=("V99",), policy_ref="")
LABELER = LabelerIdentity(model="made-up", version="1")
REVISIONS_MAX = 2


def decisions(count: int, seed: int = SEED) -> Iterator[AuditRecord]:
    """Yield audit records of made-up labels, as workers write them."""
    bundle, chance = packaged_bundle(), random.Random(seed)
    for index in range(count):
        yield _decided(_undecided(bundle, chance, index), bundle)


def candidate(bundle: PolicyBundle) -> bytes:
    """Return the packaged policy as a document, with a lower ceiling for fraud and a higher one for harassment."""
    document = msgspec.to_builtins(structs.replace(bundle, content_hash=""))
    document["categories"]["wrongdoing.nonviolent"]["fixed"] = [1, 1, 0]
    document["categories"]["harassment"]["fixed"] = [4, 3, 2]
    return msgspec.json.encode(document)


def _undecided(bundle: PolicyBundle, chance: random.Random, index: int) -> AuditRecord:
    """Return a record with labels of a request and of as many drafts as there can be."""
    names = (
        ()
        if chance.random() < HARMLESS_SHARE
        else chance.sample(sorted(bundle.categories), chance.choice((1, 1, 1, 2)))
    )
    findings = tuple(_asked(chance, name) for name in names)
    band = chance.choice((AgeBand.ADULT, AgeBand.UNKNOWN, AgeBand.TEEN))
    return AuditRecord(
        audit_id=f"00000000-0000-8000-8000-{index:012d}",
        event_id=f"event-{index}",
        conversation_id=f"conversation-{index // 4}",
        tenant_id="bench",
        position=Position(topic="conversations.events", partition=index % 12, offset=index // 12, timestamp_ms=index),
        policy_ref=bundle.ref,
        overlay_ref=STRICTEST.ref,
        action=Action.WITHHELD,
        reason_codes=("V99",),
        labels=RequestLabels(labeler=LABELER, findings=findings, age_band=band, age_verified=band is AgeBand.ADULT),
        plan=NOTHING_PLANNED,
        request=TEXT,
        attempts=tuple(_draft(chance, names) for _ in range(REVISIONS_MAX + 1)),
        response_digest=TEXT.digest,
        trace_id=f"{index:032x}",
        age_band=band,
        age_verified=band is AgeBand.ADULT,
        revisions_max=REVISIONS_MAX,
    )


def _asked(chance: random.Random, name: CategoryId) -> RequestFinding:
    return RequestFinding(
        category=name,
        harm=chance.randrange(5),
        intent=chance.choice(tuple(Intent)),
        context=chance.choice(tuple(Context)),
        asked_detail=chance.randrange(5),
    )


def _draft(chance: random.Random, names: Sequence[CategoryId]) -> Attempt:
    levels = [sorted((chance.randrange(5), chance.randrange(4))) for _ in names]
    findings = tuple(
        OutputFinding(category=name, harm=chance.randrange(4), detail_lo=low, detail_hi=high)
        for name, (low, high) in zip(names, levels, strict=True)
    )
    labels = OutputLabels(findings=findings, obligations_present=("crisis_line", "teen_support"), guards=GUARDS)
    return Attempt(
        source=DraftSource.GENERATOR, draft=TEXT, labels=labels, verdict=UNJUDGED, usage=Usage(output_tokens=100)
    )


def _decided(record: AuditRecord, bundle: PolicyBundle) -> AuditRecord:
    """Return the record as the pipeline would have left it: without drafts after the one that decided."""
    found = recompute(record, bundle, STRICTEST)
    judged = zip(record.attempts[: found.judged_count], found.verdicts, strict=False)
    attempts = tuple(structs.replace(attempt, verdict=verdict) for attempt, verdict in judged)
    assert found.action is not None
    return structs.replace(
        record, plan=found.plan, attempts=attempts, action=found.action, reason_codes=attempts[-1].verdict.rule_ids
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the decisions to a file, and print how long the command takes over it."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate_policy", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, metavar="N", help="decisions (default 100000)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the decisions and the candidate in DIR")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        recorded, policy = folder / "decisions.jsonl", folder / "candidate.json"
        policy.write_bytes(candidate(packaged_bundle()))
        with recorded.open("wb") as file:
            file.writelines(encode(record) + b"\n" for record in decisions(asked.count))
        megabytes = recorded.stat().st_size / 1e6
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        status = sluicegate(["policy", "simulate", "--from-audit", str(recorded), "--policy", str(policy)])
        took_s, cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{asked.count} decisions, {megabytes:.0f} MB: {took_s:.1f} s, {cpu_s:.1f} s of CPU, peak {peak_mb:.0f} MiB")
    return status


if __name__ == "__main__":
    sys.exit(main())
