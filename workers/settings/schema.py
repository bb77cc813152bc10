"""All settings, by section. `workers.settings.loading` loads them, `docs/settings.md` lists them.

Units stand last in the name: `_s` seconds, `_ms` milliseconds, `_bytes`, `_max`. An empty string means "not set".
"""

from msgspec import Struct

from workers.settings.brokers import KafkaSettings, TopicSettings
from workers.settings.events import (
    CanarySettings,
    GrantSettings,
    LimitSettings,
    PolicySettings,
    RedactionSettings,
    SignatureSettings,
    StagesSettings,
    StateSettings,
    StreamingSettings,
    TenantSettings,
)
from workers.settings.models import GenerationSettings, GuardSettings
from workers.settings.operation import AgentSettings, DoorSettings, DrainSettings, RaySettings, TelemetrySettings


class Settings(Struct, frozen=True, kw_only=True):
    """All settings. `Settings()`, without arguments, is valid."""

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    limits: LimitSettings = LimitSettings()
    policy: PolicySettings = PolicySettings()
    generation: GenerationSettings = GenerationSettings()
    guard: GuardSettings = GuardSettings()
    stages: StagesSettings = StagesSettings()
    grants: GrantSettings = GrantSettings()
    canary: CanarySettings = CanarySettings()
    signatures: SignatureSettings = SignatureSettings()
    redaction: RedactionSettings = RedactionSettings()
    state: StateSettings = StateSettings()
    streaming: StreamingSettings = StreamingSettings()
    tenants: TenantSettings = TenantSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    ray: RaySettings = RaySettings()
    drain: DrainSettings = DrainSettings()
    agent: AgentSettings = AgentSettings()
    door: DoorSettings = DoorSettings()
