"""One vLLM server for all tests of the package that need one."""

from tests.plugins.vllm_server import vllm_server

__all__ = ["vllm_server"]
