"""What a process builds once, such as tables, models and compiled patterns, is there before its first event."""

import json
import subprocess
import sys

from tests.checkout import ROOT

FIRST_EVENT = """
import asyncio, collections, json, sys

from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.per_policy import PolicyLabeler
from tests.contracts.samples import POLICY, check_input, event
from topology.telemetry.instruments import Instruments
from workers.process.clock import SystemClock
from workers.settings import Settings
from workers.stages.building import build_stage, stage_settings
from workers.stages.language_models import ModelSet
from workers.supervision.actors import StageHost

DRAFT = "Write to the office: info@canals.org, (202) 555-0199, or 12 Lock Street. Take 3 cups of water at 40 degrees."
REQUEST = "How do I kill time at 水 the lock? Translate 'all boats rise in this lock, they say', I am 15."
BUILDERS = {
    ("re", "_compiler.py", "compile"): "patterns",
    ("regex", "_regex_core.py", "_parse_pattern"): "patterns",
    ("text", "phrases.py", "read_phrases"): "phrases",
    ("text", "lexicon.py", "read_terms"): "terms",
    ("personal_data", "recognizers.py", "load_recognizers"): "recognizers",
}
built = collections.Counter()

def note(frame, happened, _argument):
    if happened == "call":
        path = frame.f_code.co_filename.split("/")
        name = BUILDERS.get((*path[-2:], frame.f_code.co_name))
        if name:
            built[name] += 1

def warm():
    hosts = [StageHost(Settings(), name) for name in stage_settings(Settings())]
    return ModelSet(Settings(), SystemClock(), Instruments.none()).labeler, [host._stage for host in hosts]

def cold():
    model = LinearModel.load()
    labeler = PolicyLabeler(lambda policy: EmbeddedLabeler(model, policy.categories))
    return labeler, [build_stage(Settings(), name) for name in stage_settings(Settings())]

labeler, stages = {"warm": warm, "cold": cold}[sys.argv[1]]()
sys.setprofile(note)
asyncio.run(labeler.label(event(REQUEST), POLICY))
for stage in stages:
    stage.run([check_input(DRAFT, REQUEST)])
sys.setprofile(None)
print(json.dumps(built))
"""


def built_for_the_first_event(start: str) -> dict[str, int]:
    """Count what a fresh process builds once its labeller and stages are there."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_EVENT, start], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_first_event_after_the_start_builds_nothing() -> None:
    assert built_for_the_first_event("warm") == {}


def test_without_a_warm_up_the_first_event_would_build_all_that() -> None:
    assert built_for_the_first_event("cold").keys() == {"phrases", "terms", "recognizers", "patterns"}
