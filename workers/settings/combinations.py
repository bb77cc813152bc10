"""Rules between settings, and the check that the files they name exist."""

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from topology.contract.errors import SettingsError
from workers.settings.brokers import KafkaSettings
from workers.settings.schema import Settings
from workers.settings.secret import MASK

Problem = tuple[tuple[str, ...], SettingsError]
"""The keys involved, and the problem with the first of them."""


NOT_SET = object()
"""In place of the value of a setting that has none: then `allowed` is the whole sentence."""


class _Rule(Struct, frozen=True):
    """A condition on settings. `keys` are the settings involved; `allowed` says what the first of them may be."""

    keys: tuple[str, ...]
    value: Callable[[Settings], object]
    allowed: str
    holds: Callable[[Settings], bool]


_RULES = (
    _Rule(
        ("kafka.heartbeat_interval_ms", "kafka.session_timeout_ms"),
        lambda s: s.kafka.heartbeat_interval_ms,
        "less than a third of kafka.session_timeout_ms",
        lambda s: 3 * s.kafka.heartbeat_interval_ms < s.kafka.session_timeout_ms,
    ),
    _Rule(
        ("kafka.max_poll_interval_ms", "kafka.session_timeout_ms"),
        lambda s: s.kafka.max_poll_interval_ms,
        "at least kafka.session_timeout_ms",
        lambda s: s.kafka.max_poll_interval_ms >= s.kafka.session_timeout_ms,
    ),
    _Rule(
        ("kafka.rejoin_timeout_s", "kafka.max_poll_interval_ms"),
        lambda s: s.kafka.rejoin_timeout_s,
        "more than twice kafka.max_poll_interval_ms, which one rebalance may take",
        lambda s: s.kafka.rejoin_timeout_s * 1000 > 2 * s.kafka.max_poll_interval_ms,
    ),
    _Rule(
        ("kafka.delivery_timeout_ms", "kafka.transaction_timeout_ms"),
        lambda s: s.kafka.delivery_timeout_ms,
        "less than kafka.transaction_timeout_ms",
        lambda s: s.kafka.delivery_timeout_ms < s.kafka.transaction_timeout_ms,
    ),
    _Rule(
        # kafka-python 3.0.12, producer/record_accumulator.py, refuses to start otherwise.
        ("kafka.request_timeout_ms", "kafka.linger_ms", "kafka.delivery_timeout_ms"),
        lambda s: s.kafka.request_timeout_ms,
        "at most kafka.delivery_timeout_ms minus kafka.linger_ms",
        lambda s: s.kafka.request_timeout_ms + s.kafka.linger_ms <= s.kafka.delivery_timeout_ms,
    ),
    _Rule(
        # kafka-python 3.0.12, consumer/group.py: must exceed fetch_max_wait_ms, which keeps its default.
        ("kafka.request_timeout_ms",),
        lambda s: s.kafka.request_timeout_ms,
        "more than 500, the longest time that a broker may hold a fetch",
        lambda s: s.kafka.request_timeout_ms > 500,
    ),
    _Rule(
        ("kafka.commit_timeout_s", "kafka.delivery_timeout_ms"),
        lambda s: s.kafka.commit_timeout_s,
        "more than kafka.delivery_timeout_ms",
        lambda s: s.kafka.commit_timeout_s * 1000 > s.kafka.delivery_timeout_ms,
    ),
    _Rule(
        ("limits.revoke_timeout_s", "kafka.session_timeout_ms"),
        lambda s: s.limits.revoke_timeout_s,
        "at most half of kafka.session_timeout_ms, because no heartbeat is sent meanwhile",
        lambda s: s.limits.revoke_timeout_s * 2000 <= s.kafka.session_timeout_ms,
    ),
    _Rule(
        ("kafka.fetch_bytes_max", "kafka.partition_fetch_bytes"),
        lambda s: s.kafka.fetch_bytes_max,
        "at least kafka.partition_fetch_bytes",
        lambda s: s.kafka.fetch_bytes_max >= s.kafka.partition_fetch_bytes,
    ),
    _Rule(
        ("kafka.batch_decompressed_bytes_max", "topics.input_message_bytes_max"),
        lambda s: s.kafka.batch_decompressed_bytes_max,
        "at least topics.input_message_bytes_max",
        lambda s: s.kafka.batch_decompressed_bytes_max >= s.topics.input_message_bytes_max,
    ),
    _Rule(
        ("kafka.sasl_username", "kafka.security_protocol", "kafka.sasl_mechanism"),
        lambda s: s.kafka.sasl_username,
        "a user name, because kafka.security_protocol is SASL_* and the mechanism is not OAUTHBEARER",
        lambda s: bool(s.kafka.sasl_username) or not _is_sasl(s.kafka) or s.kafka.sasl_mechanism == "OAUTHBEARER",
    ),
    _Rule(
        ("kafka.sasl_password", "kafka.security_protocol"),
        lambda _: NOT_SET,
        "not set, and kafka.security_protocol needs it: kafka.sasl_password_file may be the path of a file with it",
        lambda s: bool(s.kafka.sasl_password) or not _is_sasl(s.kafka),
    ),
    _Rule(
        ("kafka.sasl_password", "kafka.security_protocol"),
        lambda _: MASK,
        "empty, unless kafka.security_protocol is SASL_PLAINTEXT or SASL_SSL",
        lambda s: not s.kafka.sasl_password or _is_sasl(s.kafka),
    ),
    _Rule(
        ("kafka.ssl_certfile", "kafka.security_protocol"),
        lambda s: s.kafka.ssl_certfile,
        "empty, unless kafka.security_protocol is SSL or SASL_SSL",
        lambda s: not s.kafka.ssl_certfile or s.kafka.security_protocol.endswith("SSL"),
    ),
    _Rule(
        ("topics.min_insync_replicas", "topics.replication_factor"),
        lambda s: s.topics.min_insync_replicas,
        "at most topics.replication_factor",
        lambda s: s.topics.min_insync_replicas <= s.topics.replication_factor,
    ),
    _Rule(
        ("topics.input_message_bytes_max", "limits.event_bytes_max"),
        lambda s: s.topics.input_message_bytes_max,
        "at least limits.event_bytes_max",
        lambda s: s.topics.input_message_bytes_max >= s.limits.event_bytes_max,
    ),
    _Rule(
        ("limits.queue_events_max", "limits.in_flight_max"),
        lambda s: s.limits.queue_events_max,
        "at least limits.in_flight_max",
        lambda s: s.limits.queue_events_max >= s.limits.in_flight_max,
    ),
    _Rule(
        ("limits.queue_bytes_max", "limits.event_bytes_max"),
        lambda s: s.limits.queue_bytes_max,
        "at least limits.event_bytes_max",
        lambda s: s.limits.queue_bytes_max >= s.limits.event_bytes_max,
    ),
    _Rule(
        # The event is the body in another spelling, with a few fields more.
        ("door.body_bytes_max", "limits.event_bytes_max"),
        lambda s: s.door.body_bytes_max,
        "at most limits.event_bytes_max",
        lambda s: s.door.body_bytes_max <= s.limits.event_bytes_max,
    ),
    _Rule(
        ("door.tls_certfile", "door.tls_keyfile"),
        lambda s: s.door.tls_certfile,
        "set together with door.tls_keyfile, or neither",
        lambda s: bool(s.door.tls_certfile) == bool(s.door.tls_keyfile),
    ),
    _Rule(
        ("door.metrics_port", "door.port"),
        lambda s: s.door.metrics_port,
        "another port than door.port, or 0",
        lambda s: not s.door.metrics_port or s.door.metrics_port != s.door.port,
    ),
    _Rule(
        # Else an answer is forgotten while its request still waits.
        ("door.replay_s", "door.deadline_s"),
        lambda s: s.door.replay_s,
        "at least door.deadline_s",
        lambda s: s.door.replay_s >= s.door.deadline_s,
    ),
    _Rule(
        ("generation.backoff_initial_s", "generation.backoff_max_s"),
        lambda s: s.generation.backoff_initial_s,
        "at most generation.backoff_max_s",
        lambda s: s.generation.backoff_initial_s <= s.generation.backoff_max_s,
    ),
    _Rule(
        ("canary.keys", "state.enabled"),
        lambda s: s.canary.keys,
        "none, because state.enabled is false: it could not be remembered which canaries were used",
        lambda s: s.state.enabled or not s.canary.keys,
    ),
    _Rule(
        # A mark may be dated ahead by `age_max_s`, and is valid for as long again.
        ("canary.age_max_s", "state.ttl_s"),
        lambda s: s.canary.age_max_s,
        "at most half of state.ttl_s, because a used canary is remembered in the state of its conversation",
        lambda s: 2 * s.canary.age_max_s <= s.state.ttl_s or not s.canary.keys,
    ),
    _Rule(
        ("guard.judge_base_url", "guard.labeler"),
        lambda s: s.guard.judge_base_url,
        'an endpoint, because guard.labeler is "llm"',
        lambda s: s.guard.labeler != "llm" or bool(s.guard.judge_base_url),
    ),
    _Rule(
        ("guard.judge_model", "guard.labeler"),
        lambda s: s.guard.judge_model,
        'a model name, because guard.labeler is "llm"',
        lambda s: s.guard.labeler != "llm" or bool(s.guard.judge_model),
    ),
)


_FILES_ONLY = 'empty, because policy.source is "topic": a policy comes from files or from the topic, never from both'


def _only_from_files(key: str) -> _Rule:
    def value(settings: Settings) -> str:
        return getattr(settings.policy, key)

    return _Rule(
        (f"policy.{key}", "policy.source"),
        value,
        _FILES_ONLY,
        lambda s: s.policy.source == "file" or not value(s),
    )


_PATH_ENDS = "the URL that /chat/completions is put behind, without it and without ? and #"
_ENDPOINT_RULES = (
    _Rule(
        ("generation.base_url",),
        lambda s: s.generation.base_url,
        _PATH_ENDS,
        lambda s: _takes_a_path(s.generation.base_url),
    ),
    _Rule(
        ("guard.judge_base_url",),
        lambda s: s.guard.judge_base_url,
        _PATH_ENDS,
        lambda s: _takes_a_path(s.guard.judge_base_url),
    ),
)

_POLICY_RULES = (
    _Rule(
        ("policy.keys", "policy.source"),
        lambda s: s.policy.keys,
        'at least one key, because policy.source is "topic"',
        lambda s: s.policy.source == "file" or bool(s.policy.keys),
    ),
    *(_only_from_files(key) for key in ("bundle", "overlays", "shadows", "budgets")),
)


def cross_problems(settings: Settings) -> Iterator[Problem]:
    """Yield every rule between settings that does not hold."""
    for rule in (*_RULES, *_ENDPOINT_RULES, *_POLICY_RULES):
        if not rule.holds(settings):
            value = rule.value(settings)
            yield rule.keys, SettingsError(rule.keys[0], "" if value is NOT_SET else repr(value), rule.allowed)
    names = (settings.topics.events, settings.topics.audited, settings.topics.audit, settings.topics.review)
    names += (settings.topics.state, settings.topics.canary, settings.topics.policy, settings.topics.dead_letters)
    names += (settings.topics.usage,)
    if len(set(names)) < len(names):
        yield ("topics.events",), SettingsError("topics", "a name that occurs twice", "nine different names")


def file_problems(settings: Settings) -> list[SettingsError]:
    """Return a problem for every file and directory that settings name but that does not exist.

    `sluicegate check` asks for it; a start does not.
    """
    files = {
        "kafka.ssl_cafile": settings.kafka.ssl_cafile,
        "kafka.ssl_certfile": settings.kafka.ssl_certfile,
        "kafka.ssl_keyfile": settings.kafka.ssl_keyfile,
        "policy.bundle": settings.policy.bundle,
        "door.tls_certfile": settings.door.tls_certfile,
        "door.tls_keyfile": settings.door.tls_keyfile,
        "door.keys_file": settings.door.keys_file,
    }
    problems = [
        SettingsError(key, repr(name), "an existing file")
        for key, name in files.items()
        if name and not Path(name).is_file()
    ]
    directories = {f"policy.{key}": getattr(settings.policy, key) for key in ("overlays", "shadows", "budgets")}
    problems.extend(
        SettingsError(key, repr(name), "an existing directory")
        for key, name in directories.items()
        if name and not Path(name).is_dir()
    )
    return problems


def _takes_a_path(url: str) -> bool:
    return "?" not in url and "#" not in url and not url.rstrip("/").endswith("/completions")


def _is_sasl(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol.startswith("SASL_")
