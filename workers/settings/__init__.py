"""Every setting: its bounds and meaning, how all are loaded, and the page that lists them."""

from workers.settings.loading import InvalidSettings, load_settings, show
from workers.settings.schema import (
    AgentSettings,
    CanarySettings,
    DrainSettings,
    GenerationSettings,
    GrantSettings,
    GuardSettings,
    KafkaSettings,
    LimitSettings,
    PolicySettings,
    RaySettings,
    RedactionSettings,
    Settings,
    StageSettings,
    StagesSettings,
    TelemetrySettings,
    TopicSettings,
)
from workers.settings.secret import Secret

__all__ = [
    "AgentSettings",
    "CanarySettings",
    "DrainSettings",
    "GenerationSettings",
    "GrantSettings",
    "GuardSettings",
    "InvalidSettings",
    "KafkaSettings",
    "LimitSettings",
    "PolicySettings",
    "RaySettings",
    "RedactionSettings",
    "Secret",
    "Settings",
    "StageSettings",
    "StagesSettings",
    "TelemetrySettings",
    "TopicSettings",
    "load_settings",
    "show",
]
