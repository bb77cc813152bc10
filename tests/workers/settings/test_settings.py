"""Settings: where they come from, what is refused, what is never shown."""

import pickle
from pathlib import Path

import msgspec
import pytest

from tests.checkout import ROOT
from tests.workers.settings.settings_given import HUSH, file_of, problems_of
from topology.contract.errors import SettingsError
from workers.settings import (
    InvalidSettings,
    KafkaSettings,
    Settings,
    load_settings,
    show,
)
from workers.settings.combinations import file_problems
from workers.settings.keys import allowed, leaves
from workers.settings.page import markdown
from workers.settings.secret import Secret

PUBLIC_KEY = "A" * 43 + "="


def test_no_file_and_no_environment_give_the_defaults() -> None:
    assert load_settings(None, {}) == Settings()


def test_the_environment_beats_the_file_and_the_file_beats_the_fallbacks(tmp_path: Path) -> None:
    path = file_of(tmp_path, '[kafka]\nbootstrap_servers = ["file:1"]\ngroup_id = "from-file"\n')
    environ = {
        "SLUICEGATE_KAFKA__GROUP_ID": "from-environment",
        "KAFKA_BOOTSTRAP_SERVERS": "fallback:1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    }
    settings = load_settings(path, environ)
    assert settings.kafka.group_id == "from-environment"
    assert settings.kafka.bootstrap_servers == ("file:1",)
    assert settings.telemetry.endpoint == "http://collector:4318"


def test_text_from_the_environment_becomes_lists_tables_numbers_and_booleans() -> None:
    settings = load_settings(
        None,
        {
            "SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": "a:1, b:2",
            "SLUICEGATE_KAFKA__API_VERSION": "2,8,0",
            "SLUICEGATE_KAFKA__SSL_CHECK_HOSTNAME": "false",
            "SLUICEGATE_GRANTS__KEYS": f"k1={PUBLIC_KEY},k2={PUBLIC_KEY}",
            "SLUICEGATE_STAGES__BIAS__TIMEOUT_S": "2.5",
        },
    )
    assert settings.kafka.bootstrap_servers == ("a:1", "b:2")
    assert settings.kafka.api_version == (2, 8, 0)
    assert settings.kafka.ssl_check_hostname is False
    assert settings.grants.keys == {"k1": PUBLIC_KEY, "k2": PUBLIC_KEY}
    assert settings.stages.bias.timeout_s == 2.5
    assert settings.stages.logging.timeout_s == 5


def test_variables_that_kubernetes_adds_by_itself_are_no_settings() -> None:
    added = {"SERVICE_HOST": "10.0.0.1", "PORT": "tcp://x", "AGENT_PORT_9464_TCP_ADDR": "x", "AGENT_SERVICE_PORT": "1"}
    assert load_settings(None, {f"SLUICEGATE_{name}": value for name, value in added.items()}) == Settings()


@pytest.mark.parametrize("name", ["SLUICEGATE_KAFKA_GROUP_ID", "SLUICEGATE_AGENT_PORT", "SLUICEGATE_KAFKA__GROUP_IDS"])
def test_a_mistyped_variable_is_refused_with_the_nearest_one(name: str) -> None:
    (problem,) = problems_of(None, {name: HUSH}).values()
    hint = " (two underscores after the section)"
    nearest = "SLUICEGATE_AGENT__PORT" + hint if "AGENT" in name else "SLUICEGATE_KAFKA__GROUP_ID"
    nearest += hint if name.endswith("KAFKA_GROUP_ID") else ""
    assert str(problem) == f"{name}: no such setting; did you mean {nearest}?"


@pytest.mark.parametrize("value", ['"a:9092, b:9092"', '["a:9092", "b:9092"]'])
def test_brokers_may_be_written_as_one_text(tmp_path: Path, value: str) -> None:
    settings = load_settings(file_of(tmp_path, f"[kafka]\nbootstrap_servers = {value}"), {})
    assert settings.kafka.bootstrap_servers == ("a:9092", "b:9092")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[kafka]\nbootstrap_servers = 'localhost'",
            "kafka.bootstrap_servers: 'localhost' has no port: write host:port, such as localhost:9092",
        ),
        (
            "[kafka]\nbootstrap_servers = ['a:9092', 'b']",
            "kafka.bootstrap_servers: 'b' has no port: write host:port, such as b:9092",
        ),
        (
            "[kafka]\nbootstrap_servers = ['kafka://a:9092']",
            "kafka.bootstrap_servers: 'kafka://a:9092' is a URL: write host:port, such as localhost:9092",
        ),
        (
            "[generation]\nbase_url = 'vllm:8000'",
            "generation.base_url: 'vllm:8000' is no URL: write http://vllm:8000/v1",
        ),
        ("[gaurd]\nlabeler = 'llm'", "[gaurd]: no such section; did you mean [guard]?"),
        (
            "failure_mode = 'open'",
            "failure_mode: no setting stands outside a section; did you mean stages.classification.",
        ),
        ("group_id = 'x'", "group_id: no setting stands outside a section; did you mean kafka.group_id?"),
        ("[zzz]\nx = 1", "[zzz]: no such section; there are agent, canary,"),
        ("[guard]\nlabeller = 'llm'", "guard.labeller: no such setting; did you mean guard.labeler?"),
        (
            "[kafka]\nsecurity_protocol = 'SASL_SSL'\nsasl_username = 'x'",
            "kafka.sasl_password: not set, and kafka.security_protocol needs it",
        ),
        (
            "[stages.bias]\nfailure_mode = 'open'",
            "stages.bias.failure_mode: closed is all there is: what no guard could judge is withheld",
        ),
        ("[policy]\nid = 'A B'", "policy.id = 'A B': must be small letters, digits and dashes, a letter first"),
        ("[kafka\ngroup_id = 'a'", "line 1: Expected ']' at the end of a table declaration"),
    ],
)
def test_what_is_allowed_is_said_in_words(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = problems_of(file_of(tmp_path, text)).values()
    assert said in str(problem)
    assert "^" not in str(problem)


def test_no_setting_describes_what_is_allowed_by_a_pattern() -> None:
    assert [leaf.key for leaf in leaves(Settings) if "`^" in allowed(leaf)] == []


def test_a_whole_number_may_be_written_with_a_point_and_an_endpoint_without_a_scheme(tmp_path: Path) -> None:
    text = "[limits]\nin_flight_max = 64.0\n[telemetry]\nendpoint = 'localhost:4317'\n"
    settings = load_settings(file_of(tmp_path, text), {})
    assert settings.limits.in_flight_max == 64
    assert settings.telemetry.endpoint == "http://localhost:4317"
    (problem,) = problems_of(file_of(tmp_path, "[limits]\nin_flight_max = 64.5"), {}).values()
    assert "must be a whole number" in str(problem)


def test_every_problem_is_reported_at_once_with_key_value_and_what_is_allowed(tmp_path: Path) -> None:
    text = """
    [kafka]
    heartbeat_interval_ms = 9000
    [limits]
    in_flight_max = 0
    deadline_default_s = nan
    [generation]
    base_url = "ftp://x"
    """
    problems = problems_of(file_of(tmp_path, text), {"SLUICEGATE_DRAIN__TIMEOUT_S": "soon"})
    assert set(problems) == {
        "kafka.heartbeat_interval_ms",
        "limits.in_flight_max",
        "limits.deadline_default_s",
        "generation.base_url",
        "drain.timeout_s",
    }
    assert str(problems["limits.in_flight_max"]).startswith("limits.in_flight_max = 0: must be a whole number")
    assert "from 1 to 10000" in problems["limits.in_flight_max"].allowed
    assert "SLUICEGATE_DRAIN__TIMEOUT_S" in problems["drain.timeout_s"].allowed


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[kafka]\nbootstrap_server = 'x'", "kafka.bootstrap_server", "kafka.bootstrap_servers"),
        ("[stages.clasification]\nreplicas = 2", "stages.clasification", "stages.classification"),
        ("[kafka]\ngroup_id_file = 'x'", "kafka.group_id_file", "kafka.group_id"),
        (f"[kafka]\nsasl_pasword = '{HUSH}'", "kafka.sasl_pasword", "kafka.sasl_password"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one_and_never_its_value(
    tmp_path: Path, text: str, key: str, nearest: str
) -> None:
    problem = problems_of(file_of(tmp_path, text))[key]
    assert nearest in problem.allowed
    assert HUSH not in str(problem)


def test_a_value_where_a_table_belongs_is_refused(tmp_path: Path) -> None:
    assert "table" in problems_of(file_of(tmp_path, "[stages]\nbias = 3\n"))["stages.bias"].allowed


@pytest.mark.parametrize("content", [b"[kafka", b"\xff\xfe", None])
def test_a_file_that_is_missing_or_no_toml_is_one_problem(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_bytes(content)
    (key,) = problems_of(path)
    assert key.startswith(str(path))


FROM_TOPIC = {"POLICY__SOURCE": "topic", "POLICY__KEYS": f"platform={'A' * 43}="}

CONTRADICTIONS = [
    ({"KAFKA__HEARTBEAT_INTERVAL_MS": "4000"}, "kafka.heartbeat_interval_ms"),
    ({"KAFKA__MAX_POLL_INTERVAL_MS": "5000"}, "kafka.max_poll_interval_ms"),
    ({"KAFKA__DELIVERY_TIMEOUT_MS": "15000"}, "kafka.delivery_timeout_ms"),
    ({"KAFKA__REQUEST_TIMEOUT_MS": "8000"}, "kafka.request_timeout_ms"),
    ({"KAFKA__REQUEST_TIMEOUT_MS": "500"}, "kafka.request_timeout_ms"),
    ({"KAFKA__COMMIT_TIMEOUT_S": "8"}, "kafka.commit_timeout_s"),
    ({"KAFKA__FETCH_BYTES_MAX": "2048"}, "kafka.fetch_bytes_max"),
    ({"KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_PASSWORD": HUSH}, "kafka.sasl_username"),
    ({"KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_USERNAME": "u"}, "kafka.sasl_password"),
    ({"KAFKA__SASL_PASSWORD": HUSH}, "kafka.sasl_password"),
    ({"KAFKA__SSL_CERTFILE": "client.pem"}, "kafka.ssl_certfile"),
    ({"TOPICS__MIN_INSYNC_REPLICAS": "2"}, "topics.min_insync_replicas"),
    ({"LIMITS__EVENT_BYTES_MAX": "4194304"}, "topics.input_message_bytes_max"),
    ({"LIMITS__QUEUE_EVENTS_MAX": "10"}, "limits.queue_events_max"),
    ({"LIMITS__QUEUE_BYTES_MAX": "2048"}, "limits.queue_bytes_max"),
    ({"GENERATION__BACKOFF_INITIAL_S": "6"}, "generation.backoff_initial_s"),
    ({"GENERATION__BASE_URL": "http://h/v1?api-version=1"}, "generation.base_url"),
    ({"GENERATION__BASE_URL": "http://h/v1#part"}, "generation.base_url"),
    ({"GENERATION__BASE_URL": "http://h/v1/chat/completions/"}, "generation.base_url"),
    ({"GUARD__JUDGE_BASE_URL": "http://h/v1/completions"}, "guard.judge_base_url"),
    ({"GUARD__LABELER": "llm", "GUARD__JUDGE_MODEL": "m"}, "guard.judge_base_url"),
    ({"POLICY__SOURCE": "topic"}, "policy.keys"),
    ({**FROM_TOPIC, "POLICY__BUNDLE": "bundle.yaml"}, "policy.bundle"),
    ({**FROM_TOPIC, "POLICY__OVERLAYS": "overlays"}, "policy.overlays"),
    ({**FROM_TOPIC, "POLICY__SHADOWS": "shadows"}, "policy.shadows"),
    ({"TOPICS__AUDIT": "sluicegate.dlq"}, "topics"),
]


@pytest.mark.parametrize(("given", "key"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, str], key: str) -> None:
    environ = {f"SLUICEGATE_{name}": value for name, value in given.items()}
    assert set(problems_of(None, environ)) == {key}


def test_only_closed_is_offered_as_failure_mode() -> None:
    problems = problems_of(None, {"SLUICEGATE_STAGES__BIAS__FAILURE_MODE": "open"})
    assert problems["stages.bias.failure_mode"].allowed.startswith("closed is all there is")


def test_problems_reach_another_process_whole() -> None:
    problems = InvalidSettings(SettingsError("a.b", "1", "2"), SettingsError("c.d", "3", "4"))
    copy = pickle.loads(pickle.dumps(problems))
    assert [problem.args for problem in copy.problems] == [("a.b", "1", "2"), ("c.d", "3", "4")]
    assert (copy.key, str(copy)) == (problems.key, str(problems))


def test_what_is_shown_loads_to_the_same_settings(tmp_path: Path) -> None:
    settings = load_settings(
        None,
        {
            "SLUICEGATE_GRANTS__KEYS": f"k1={PUBLIC_KEY}",
            "SLUICEGATE_KAFKA__API_VERSION": "2,8,0",
            "SLUICEGATE_TELEMETRY__ENVIRONMENT": 'quote " and \\ and ü',
        },
    )
    assert load_settings(file_of(tmp_path, show(settings)), {}) == settings


def test_every_setting_has_a_meaning_a_bound_and_a_default_within_it() -> None:
    for leaf in leaves(Settings):
        assert leaf.description.endswith("."), leaf.key
        assert allowed(leaf) != "nothing", leaf.key
        if not isinstance(leaf.default, Secret):
            assert msgspec.convert(msgspec.to_builtins(leaf.default), leaf.type) == leaf.default, leaf.key


def test_files_that_settings_name_are_looked_for_only_by_check(tmp_path: Path) -> None:
    environ = {"SLUICEGATE_POLICY__BUNDLE": str(tmp_path / "none.yaml"), "SLUICEGATE_POLICY__OVERLAYS": str(tmp_path)}
    settings = load_settings(None, environ)
    assert [problem.key for problem in file_problems(settings)] == ["policy.bundle"]


def test_the_list_of_settings_in_the_documentation_is_current() -> None:
    page = ROOT / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == markdown(), (
        "run: python -m workers.settings --markdown > docs/settings.md"
    )


def test_kafka_settings_stand_alone() -> None:
    assert KafkaSettings(bootstrap_servers=("b:1",)).group_id == "sluicegate"
