"""Another project's guard at work, in an environment of its own: `bench.guard_cost` starts this file there.

    PYTHON other_guard.py llm-guard FOLDER     LLM Guard, a scanner of requests and one of replies on a model
    PYTHON other_guard.py nemo                 NeMo Guardrails, one input rail and one output rail that allow everything

Reads a line for each round: a JSON list of pairs, a request and its reply; without a reply only the request is looked
at. Answers each with a line: CPU and wall seconds of each pair. It imports nothing of this project.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Guard = Callable[[str, str | None], None]

TOKENS_MAX = 512
COLANG = """
define flow look at request
  $allowed = execute look_at_request
  if not $allowed
    bot refuse to respond
    stop

define flow look at reply
  $allowed = execute look_at_reply
  if not $allowed
    bot refuse to respond
    stop
"""
RAILS = """
models: []
rails:
  input:
    flows: [look at request]
  output:
    flows: [look at reply]
"""


def llm_guard(folder: str) -> Guard:
    """Return LLM Guard as its guide has it: `scan_prompt` and `scan_output`, each with one scanner."""
    import torch
    from llm_guard import scan_output, scan_prompt
    from llm_guard.input_scanners import PromptInjection
    from llm_guard.model import Model
    from llm_guard.output_scanners import NoRefusal

    torch.set_num_threads(1)
    model = Model(path=folder, pipeline_kwargs={"max_length": TOKENS_MAX, "truncation": True})
    requests: Any = [PromptInjection(model=model, threshold=1.0)]
    replies: Any = [NoRefusal(model=model, threshold=1.0)]

    def look(request: str, reply: str | None) -> None:
        scan_prompt(requests, request)
        if reply is not None:
            scan_output(replies, request, reply)

    return look


def nemo() -> Guard:
    """Return NeMo Guardrails with rails that ask no model and allow everything: the cost of the path alone."""
    from nemoguardrails import LLMRails, RailsConfig

    async def allow(**given: object) -> bool:
        del given
        return True

    rails = LLMRails(RailsConfig.from_content(colang_content=COLANG, yaml_content=RAILS))
    rails.register_action(allow, "look_at_request")
    rails.register_action(allow, "look_at_reply")

    def look(request: str, reply: str | None) -> None:
        messages = [{"role": "user", "content": request}, {"role": "assistant", "content": reply or ""}]
        answer: Any = rails.generate(messages=messages, options={"rails": ["input", "output"]})
        assert answer.response[-1]["content"] == reply, "a rail held a reply"

    return look


def main(arguments: list[str]) -> int:
    """Answer rounds until no more come. What a library prints does not get among the answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    guard = llm_guard(arguments[1]) if arguments[0] == "llm-guard" else nemo()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        taken: list[tuple[float, float]] = []
        for request, reply in json.loads(line):
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            guard(request, reply)
            taken.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
        print(json.dumps(taken), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
