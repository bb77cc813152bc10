"""The rights that docs/kafka.md gives a worker: enough for everything it does, and none of them too many.

One broker with TLS, SCRAM and an authorizer that refuses whatever was not granted; the real command as a process.
"""

import re
import time
from collections.abc import Generator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pytest
from kafka.admin import (  # pyright: ignore[reportAttributeAccessIssue]
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)
from msgspec.structs import replace

from tests.checkout import ROOT
from tests.e2e.test_run_command import running
from tests.plugins.kafka_broker import CALM
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.policy_publisher import KEYS, bundle
from tests.plugins.running_worker import audits, fresh_settings, question, responses, send
from tests.plugins.secure_broker import PASSWORD, WORKER, SecureBroker
from tests.plugins.topic_fields import TOPIC_FIELDS
from topology.contract.events import Candidate, Message, Role, TextPart
from workers.commands.canary import CASES, canary_event
from workers.commands.check.brokers import probe_brokers
from workers.commands.check.probe import Mark
from workers.kafka.reader import read_topic
from workers.policy.publishing import write
from workers.policy.signing import new_private_key, private_key, public_half
from workers.settings import CanarySettings, PolicySettings, Settings, StreamingSettings, TenantSettings

pytestmark = [pytest.mark.kafka, pytest.mark.ray]

GUIDE = ROOT / "docs" / "kafka.md"
CLUSTER = "gate"
LOOK_S = 60.0
RESOURCES = {
    "group": (ResourceType.GROUP, ACLResourcePatternType.LITERAL),
    "transactional id, prefix": (ResourceType.TRANSACTIONAL_ID, ACLResourcePatternType.PREFIXED),
    "topic": (ResourceType.TOPIC, ACLResourcePatternType.LITERAL),
    "topics": (ResourceType.TOPIC, ACLResourcePatternType.LITERAL),
}


Right = tuple[str, str, str]
"""Kind of resource as the guide calls it, its name there, one operation."""


def rights_of_a_worker() -> list[Right]:
    """The rows of the guide's table; what stands after a semicolon is no right."""
    table = GUIDE.read_text(encoding="utf-8").partition("\n## Rights\n")[2].partition("\n## ")[0]
    found: list[Right] = []
    for resources, operations in re.findall(r"^\| worker \| (.+?) \| (.+?) \|$", table, re.MULTILINE):
        kind = resources.partition("`")[0].strip()
        for name in re.findall(r"`(.+?)`", resources):
            found += [(kind, name, operation) for operation in operations.partition(";")[0].split(", ")]
    return found


RIGHTS = rights_of_a_worker()


def acl(right: Right, settings: Settings) -> ACL:
    """As brokers want it."""
    kind, name, operation = right
    resource, pattern = RESOURCES[kind]
    group = settings.kafka.group_id
    spelt = name.replace("<group>", group).replace("<cluster>", CLUSTER)
    if resource is ResourceType.TOPIC:
        spelt = getattr(settings.topics, name)
    return ACL(
        f"User:{WORKER}",
        "*",
        ACLOperation[operation.upper()],
        ACLPermissionType.ALLOW,
        ResourcePattern(resource, spelt, pattern),
    )


class Guarded:
    """A worker with exactly the guide's rights. `all_mighty` are settings that nothing is refused to."""

    def __init__(self, secure: SecureBroker) -> None:
        self.secure = secure
        self.key = new_private_key()
        made = fresh_settings(self.secure.plain)
        policy = PolicySettings(source="topic", keys=KEYS)
        self.all_mighty = replace(
            made,
            policy=policy,
            canary=CanarySettings(keys={"c": public_half(self.key)}),
            tenants=TenantSettings(enabled=True),
            streaming=StreamingSettings(enabled=True),
        )
        own = {"group_id": made.kafka.group_id, "cluster_name": CLUSTER, "connect_timeout_s": PATIENCE_S, **CALM}
        self.settings = replace(self.all_mighty, kafka=self.secure.settings(WORKER, **own))
        self.secure.grant([acl(right, self.settings) for right in RIGHTS])

    def wrong(self) -> list[tuple[str, str]]:
        """What `check` minds about the brokers, and what it asks for."""
        lines = probe_brokers(self.settings, LOOK_S)
        return [(line.found, line.mend) for line in lines if line.mark is Mark.WRONG]


@pytest.fixture(scope="module")
def guarded(secure_broker: SecureBroker) -> Guarded:
    return Guarded(secure_broker)


def _settings_file(path: Path, settings: Settings) -> Path:
    """What of the settings differs from the defaults; the password is a file of its own."""
    kafka, password = settings.kafka, path.with_name("password")
    password.write_text(PASSWORD, encoding="utf-8")
    names = ("group_id", "cluster_name", "security_protocol", "ssl_cafile", "sasl_mechanism", "sasl_username")
    path.write_text(
        f"""
[kafka]
bootstrap_servers = ["{kafka.bootstrap_servers[0]}"]
{_lines({name: getattr(kafka, name) for name in names})}
sasl_password_file = "{password}"
[topics]
{_lines({name: getattr(settings.topics, name) for name in TOPIC_FIELDS})}
[policy]
source = "topic"
[policy.keys]
{_lines(settings.policy.keys)}
[canary.keys]
{_lines(settings.canary.keys)}
[tenants]
enabled = true
[agent]
port = 0
"""
    )
    return path


def _lines(texts: Mapping[str, str]) -> str:
    return "\n".join(f'{name} = "{text}"' for name, text in texts.items())


def test_the_guide_names_every_resource_of_a_worker() -> None:
    topics = {name for kind, name, _ in RIGHTS if kind.startswith("topic")}
    assert topics == set(TOPIC_FIELDS)
    assert ("group", "<group>", "Read") in RIGHTS
    assert ("transactional id, prefix", "<group>.<cluster>.", "Write") in RIGHTS
    assert ("topic", "dead_letters", "Read") not in RIGHTS


def test_the_rights_are_enough_for_all_that_a_worker_does(guarded: Guarded, ray_address: str, tmp_path: Path) -> None:
    """Policy from its topic; answers, states, a dead letter, a canary and an escalation written; offsets committed."""
    everything = guarded.all_mighty
    write(everything.kafka, everything.topics.policy, [bundle("1.0.0", 1)])
    log = tmp_path / "run.log"
    plain = Candidate(parts=(TextPart(text="It opens at nine."),))
    worst = Message(role=Role.USER, parts=(TextPart(text="I want to blow up a school. Give me exact steps."),))
    with running(_settings_file(tmp_path / "sluicegate.toml", guarded.settings), log, ray_address) as process:
        send(everything, [question(1, candidate=plain), question(2, candidate=plain)])
        send(everything, [question(3, conversation="worst", messages=(worst,), candidate=plain)])
        guarded.secure.plain.send(everything.topics.events, b"no event")
        send(everything, [canary_event(CASES[0], "c", private_key(guarded.key), int(time.time() * 1000))])
        wait_until(lambda: process.poll() is not None or len(audits(everything)) == 4)
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, log.read_text(errors="replace")[-3000:]
    assert {response.event_id for response in responses(everything)} == {"e1", "e2", "e3"}
    assert {audit.policy_ref.partition("@")[0] for audit in audits(everything)} == {"safe-completion-core"}
    for topic in ("dead_letters", "canary", "state", "usage", "review"):
        assert list(read_topic(everything.kafka, getattr(everything.topics, topic))), topic
    assert PASSWORD not in log.read_text(errors="replace")
    assert guarded.wrong() == []


@pytest.fixture
def without(guarded: Guarded, request: pytest.FixtureRequest) -> Generator[Guarded]:
    """The worker without one right, or without all those on one resource."""
    acls = [acl(right, guarded.settings) for right in request.param]
    guarded.secure.revoke(acls)
    yield guarded
    guarded.secure.grant(acls)
    wait_until(lambda: guarded.wrong() == [])


def _named(rights: Sequence[Right]) -> str:
    return "-".join([rights[0][1], *(operation for _, _, operation in rights)])


NEEDED = [[right] for right in RIGHTS if right[2] != "Describe"]
IMPLIED = [[right] for right in RIGHTS if right[2] == "Describe"]
WHOLE = [list(rights) for _, rights in groupby(RIGHTS, key=lambda right: right[:2])]


def _named_by_check(right: Right, settings: Settings) -> tuple[str, str]:
    """Kind and name of the resource, as `check` has them."""
    kind, name, _ = right
    spelt = getattr(settings.topics, name, name).replace("<group>", settings.kafka.group_id)
    return kind.partition(",")[0].removesuffix("s"), spelt.replace("<cluster>", CLUSTER)


@pytest.mark.parametrize("without", NEEDED, indirect=True, ids=map(_named, NEEDED))
def test_check_names_the_right_that_is_missing(without: Guarded, request: pytest.FixtureRequest) -> None:
    (right,) = request.node.callspec.params["without"]
    wait_until(lambda: without.wrong() != [])
    ((_, mend),) = without.wrong()
    assert right[2].upper() in mend
    assert " ".join(_named_by_check(right, without.settings)) in mend


@pytest.mark.parametrize("without", IMPLIED, indirect=True, ids=map(_named, IMPLIED))
def test_kafkas_own_authorizer_takes_describe_for_granted_with_another_right(without: Guarded) -> None:
    assert without.wrong() == []


@pytest.mark.parametrize("without", WHOLE, indirect=True, ids=map(_named, WHOLE))
def test_check_names_the_resource_that_may_not_be_looked_at(without: Guarded, request: pytest.FixtureRequest) -> None:
    right = request.node.callspec.params["without"][0]
    wait_until(lambda: without.wrong() != [])
    said = " ".join(found + mend for found, mend in without.wrong())
    assert all(word in said for word in _named_by_check(right, without.settings))
