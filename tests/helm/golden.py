"""Writes the golden renders: `python -m tests.helm.golden`. What `released/` holds is never written again."""

import sys

from tests.helm.cases import examples
from tests.helm.engine import DATA, Engine

GOLDEN = ("minimal", "statefulset-keda")


def golden_text(engine: Engine, name: str) -> str:
    """One example's objects as text, as `helm template` prints them, without what is generated elsewhere."""
    skipped = ("NOTES.txt", "templates/dashboards.yaml", "templates/rules.yaml")
    files = engine.render_files(examples()[name])
    parts = [f"# {path}\n{text.strip()}\n" for path, text in sorted(files.items()) if text.strip()]
    return "\n".join(part for part in parts if not part.partition("\n")[0].endswith(skipped))


def main() -> int:
    """Write all of them."""
    with Engine() as engine:
        for name in GOLDEN:
            (DATA / "golden" / f"{name}.yaml").write_text(golden_text(engine, name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
