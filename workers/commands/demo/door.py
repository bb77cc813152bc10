"""The door of a demo that is kept: opened on loopback beside its workers, and the lines that ask it."""

import asyncio
import hashlib
import os
import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import structs

from workers.commands.demo.parts import free_port
from workers.door.running import RunningDoor
from workers.settings import Secret, Settings
from workers.telemetry.setup import TELEMETRY_STOP_S, start_telemetry

MODEL: Final = "sluicegate"
START_S: Final = 60.0
TENANT: Final = "open-chat"


@contextmanager
def open_door(settings: Settings, directory: Path) -> Generator[list[str]]:
    """Open a door to the run's topics, and yield the lines that ask it. Raises TimeoutError if it does not open."""
    api_key = f"sk-{secrets.token_hex(16)}"
    keys = _kept(directory / "door-keys.toml", _keys(api_key))
    own = structs.replace(
        settings.door,
        host="127.0.0.1",
        port=free_port(),
        metrics_port=0,
        keys_file=str(keys),
        digest_key=Secret(secrets.token_hex(32)),
        models=(MODEL,),
    )
    telemetry = start_telemetry(settings.telemetry, "door")
    door = RunningDoor(structs.replace(settings, door=own), telemetry)
    thread = threading.Thread(target=lambda: asyncio.run(door.serve()), name="door", daemon=True)
    thread.start()
    try:
        if not door.is_up.wait(START_S):
            raise TimeoutError(f"the door is not open after {START_S:g} s")
        yield lines(f"http://127.0.0.1:{door.port}/v1", api_key)
    finally:
        door.stop()
        thread.join(START_S)
        telemetry.shutdown(TELEMETRY_STOP_S)


def lines(base_url: str, api_key: str) -> list[str]:
    """Return a line for curl, and one for OpenAI's Python client, each to be pasted as it is."""
    asked = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"Hello"}}]}}'
    python = (
        f'import openai; print(openai.OpenAI(base_url="{base_url}", api_key="{api_key}").chat.completions.create('
        f'model="{MODEL}", messages=[{{"role": "user", "content": "Hello"}}]).choices[0].message.content)'
    )
    headers = f"-H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json'"
    return [f"curl -sS {base_url}/chat/completions {headers} -d '{asked}'", f"python -c '{python}'"]


def _keys(api_key: str) -> str:
    digest = hashlib.sha256(api_key.encode()).hexdigest()
    return f'[keys.demo]\nsha256 = ["{digest}"]\ntenant = "{TENANT}"\nage_band = "adult"\n'


def _kept(path: Path, text: str) -> Path:
    """Write a file that nobody else can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path.absolute()
