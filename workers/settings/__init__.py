"""Every setting: default, allowed range and meaning; how settings are loaded; the page that lists them."""

from workers.settings.brokers import KafkaSettings, TopicSettings
from workers.settings.events import (
    CanarySettings,
    GrantSettings,
    LimitSettings,
    PolicySettings,
    RedactionSettings,
    SignatureSettings,
    StageSettings,
    StagesSettings,
    StateSettings,
    StreamingSettings,
    TenantSettings,
)
from workers.settings.loading import InvalidSettings, load_settings, show
from workers.settings.models import GenerationSettings, GuardSettings
from workers.settings.operation import AgentSettings, DoorSettings, DrainSettings, RaySettings, TelemetrySettings
from workers.settings.schema import Settings
from workers.settings.secret import Secret, SecretSource, read_secrets, require_sources

__all__ = [
    "AgentSettings",
    "CanarySettings",
    "DoorSettings",
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
    "SecretSource",
    "Settings",
    "SignatureSettings",
    "StageSettings",
    "StagesSettings",
    "StateSettings",
    "StreamingSettings",
    "TelemetrySettings",
    "TenantSettings",
    "TopicSettings",
    "load_settings",
    "read_secrets",
    "require_sources",
    "show",
]
