"""A `FakeEndpoint` on an event loop of its own thread, for workers in other processes."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager

from tests.plugins.fake_endpoint import FakeEndpoint

START_S = 60.0


@contextmanager
def served(endpoint: FakeEndpoint) -> Generator[str]:
    """Its base URL, while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="endpoint", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(endpoint.__aenter__(), loop).result(START_S)
        yield endpoint.base_url
        asyncio.run_coroutine_threadsafe(endpoint.__aexit__(None, None, None), loop).result(START_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S)
        loop.close()
