"""The values that the chart is rendered with: the chart's own examples, and every combination of what changes most."""

from itertools import product

from tests.effort import LONG_FORM
from tests.helm.engine import CHART, Values, load_values, merged

MINIMAL: Values = load_values(CHART / "ci" / "minimal-values.yaml")
STATEFULSET: Values = merged(MINIMAL, {"mode": "statefulset"})

_SECURITY: dict[str, Values] = {
    "plaintext": {"protocol": "PLAINTEXT", "username": "", "existingSecret": {"name": ""}},
    "sasl": {"caSecret": {"name": "ca"}},
    "mtls": {
        "protocol": "SSL",
        "username": "",
        "existingSecret": {"name": ""},
        "clientCertSecret": {"name": "user"},
    },
}


def examples() -> dict[str, Values]:
    """The files in ci/, by name."""
    return {path.stem.removesuffix("-values"): load_values(path) for path in sorted((CHART / "ci").glob("*.yaml"))}


def matrix() -> dict[str, Values]:
    """Mode x preset x security x scaling, monitors, network policy."""
    found: dict[str, Values] = {}
    modes, presets, switches = ("rayservice", "statefulset"), ("nano", "small", "medium", "large"), (False, True)
    for mode, preset, security, is_scaled, is_watched, is_closed in product(
        modes, presets, _SECURITY, switches, switches, switches
    ):
        scaled = (
            {"keda": {"enabled": is_scaled}}
            if mode == "statefulset"
            else {"ray": {"autoscaler": {"enabled": is_scaled}}}
        )
        watched = {name: {"enabled": is_watched} for name in ("podMonitor", "serviceMonitor", "rules")}
        name = f"{mode}-{preset}-{security}-scaled:{is_scaled}-watched:{is_watched}-closed:{is_closed}"
        found[name] = merged(
            MINIMAL,
            {"mode": mode, "preset": preset, "kafka": {"security": _SECURITY[security]}},
            scaled,
            {"metrics": watched, "networkPolicy": {"enabled": is_closed}},
        )
    return found


def tried() -> dict[str, Values]:
    """Return the combinations to render: all of them in the long form, a quarter in the short one.

    In the quarter any three choices meet in every way: of each mode, preset and security two are left, whose switches
    are each other's opposite, and which two changes from one to the next.
    """
    found = matrix()
    return found if LONG_FORM else {name: values for at, (name, values) in enumerate(found.items()) if _is_kept(at)}


def _is_kept(at: int) -> bool:
    """Decide by the place in the matrix: mode, preset, security, then the three switches as a number of three bits."""
    above, switches = divmod(at, 8)
    mode_and_preset, security = divmod(above, len(_SECURITY))
    chosen = sum(divmod(mode_and_preset, 4), security) % 4
    return switches in {chosen, 7 - chosen}
