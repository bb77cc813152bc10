"""The Serve deployment class around vLLM, which ends its process as soon as the engine is dead.

It is imported on the replicas and where the application is built, never by the command line.
"""

import os
import sys

from ray.serve.llm.deployment import LLMServer
from vllm.v1.engine.exceptions import EngineDeadError

EXIT_ENGINE_DEAD = 72
"""`ExitCode.ENGINE_DEAD` of workers/process/exit_codes.py, which serving may not import."""


class EngineServer(LLMServer):
    """An LLMServer whose health check ends the process when the engine is dead.

    Serve by itself counts failed checks, stops the replica gracefully, and only then starts another; until then every
    request is sent to the broken replica. https://github.com/ray-project/ray/issues/60145
    """

    async def check_health(self) -> None:
        """End the process if the engine is dead. Any other failure is raised, for Serve to count."""
        try:
            await super().check_health()
        except EngineDeadError:
            sys.stderr.write("the vLLM engine is dead: ending the replica so that Serve starts another\n")
            sys.stderr.flush()
            os._exit(EXIT_ENGINE_DEAD)
