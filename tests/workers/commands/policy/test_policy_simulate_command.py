"""`sluicegate policy simulate`: says which recorded decisions a policy would change, as tables, a picture and JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from bench.simulate_policy import candidate, decisions
from tests.plugins.dead_letter_desk import Desk
from tests.plugins.kafka_broker import Kafka
from tests.topology.contract.contract_samples import SAMPLES
from topology.contract.codec import encode
from topology.contract.events import AuditRecord
from topology.contract.headers import Wire
from topology.contract.labels import Verdict, VerdictKind
from topology.contract.names import CONTENT_TYPE_MSGPACK, Header
from topology.policy.in_force import Policies
from topology.policy.loading import load_bundle, packaged_bundle
from workers.cli import main
from workers.commands.policy.explaining import explained
from workers.commands.policy.simulation import NAMES_MAX, Simulated, Simulation

COUNT = 1000
RECORDS = tuple(decisions(COUNT))
FRAUD = "wrongdoing.nonviolent"
NAMELESS = Verdict(verdict=VerdictKind.REVISE, rule_ids=(), policy_ref="")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with recorded decisions, and a policy that lowers the ceilings of fraud and raises harassment's."""
    (tmp_path / "audit.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in RECORDS))
    (tmp_path / "new.json").write_bytes(candidate(packaged_bundle()))
    return tmp_path


def run(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    """Status, standard output, standard error."""
    capsys.readouterr()
    audit, new = str(folder / "audit.jsonl"), str(folder / "new.json")
    try:
        status = main(["policy", "simulate", "--from-audit", audit, "--policy", new, *options])
    except SystemExit as exc:
        status = int(exc.code or 0)
    ended = capsys.readouterr()
    return status, ended.out, ended.err


def counted(out: str) -> Simulated:
    return msgspec.json.decode(out, type=Simulated)


def test_the_same_policy_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unnamed = msgspec.structs.replace(packaged_bundle(), content_hash="")
    (folder / "new.json").write_bytes(msgspec.json.encode(unnamed))
    status, out, err = run(folder, capsys, "--json")
    found = counted(out)
    assert (status, err) == (0, "")
    assert (found.decisions, found.changed, found.acted, found.other_overlays) == (COUNT, 0, 0, 0)
    assert {cell.before == cell.after for cell in found.changes} == {True}
    assert found.policies == {packaged_bundle().ref: COUNT}


def test_a_lower_and_a_higher_ceiling_are_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = counted(run(folder, capsys, "--json")[1])
    moves = {each.category: each for each in found.categories}
    assert found.changed == sum(found.shifts.values()) > 0
    assert moves[FRAUD].ceilings_lowered > 0
    assert moves[FRAUD].ceilings_raised == 0
    assert moves["harassment"].ceilings_raised > 0
    assert moves["harassment"].ceilings_lowered == 0
    assert sum(cell.count for cell in found.changes) == COUNT
    assert sum(cell.count for cell in found.changes if cell.before != cell.after) == found.acted


def test_examples_name_decisions_of_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = counted(run(folder, capsys, "--json")[1])
    actions = {record.audit_id: record.action.value for record in RECORDS}
    named = [(cell.before, audit_id) for cell in found.changes for audit_id in cell.examples]
    assert named
    assert {actions[audit_id] == before for before, audit_id in named} == {True}


def test_tables_and_bars_are_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(folder, capsys)
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[0].startswith(f"{COUNT} decisions, under safe-completion-core@")
    assert "one more draft" in out
    (bar,) = [line for line in lines if line.startswith(FRAUD)]
    assert "#" in bar
    assert "words words" not in out


def test_a_limit_and_a_period_choose_decisions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert counted(run(folder, capsys, "--json", "--limit", "7")[1]).decisions == 7
    later = [msgspec.structs.replace(record, position=at(record, 1_800_000_000_000)) for record in RECORDS[:5]]
    (folder / "audit.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in (*RECORDS[5:], *later)))
    assert counted(run(folder, capsys, "--json", "--since", "2020-01-01")[1]).decisions == 5
    assert counted(run(folder, capsys, "--json", "--until", "2020-01-01")[1]).decisions == COUNT - 5


def at(record: AuditRecord, timestamp_ms: int) -> msgspec.Struct:
    return msgspec.structs.replace(record.position, timestamp_ms=timestamp_ms)


def test_a_picture_is_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(folder, capsys, "--picture", str(folder / "changes.png"))
    assert (status, err) == (0, f"picture: {folder / 'changes.png'}\n")
    assert (folder / "changes.png").read_bytes().startswith(b"\x89PNG")


def test_lines_that_are_no_audit_records_are_named_by_number_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "audit.jsonl").open("ab") as file:
        file.write(b'\n{"audit_id": "a user\'s words"}\nnot json\n')
    status, out, err = run(folder, capsys, "--json")
    assert (status, counted(out).decisions) == (1, COUNT)
    assert err == f"not audit records: 2, at line {COUNT + 2}, line {COUNT + 3}\n"


def test_decisions_under_another_overlay_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "overlays").mkdir()
    (folder / "overlays" / "bench.yaml").write_text("tenant_id: bench\nversion: '1'\nage_default: adult\n")
    found = counted(run(folder, capsys, "--json", "--overlays", str(folder / "overlays"))[1])
    assert found.other_overlays == COUNT
    assert any(each.ceilings_raised for each in found.categories if each.category not in {FRAUD, "harassment"})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--policy", "gone.json"), "--policy gone.json: cannot be read: No such file"),
        (("--from-audit", "gone.jsonl"), "--from-audit gone.jsonl: cannot be read: No such file"),
        (("--overlays", "gone"), "--overlays gone: no such directory"),
        (("--picture", "p.gif"), "--picture p.gif: must end in .png"),
        (("--picture", "gone/p.png"), "--picture gone/p.png: no such directory"),
        (("--since", "soon"), "--since: 'soon' is not an ISO 8601 time"),
        (("--since", "1h", "--until", "2h"), "--until 2h: not after --since 1h"),
        (("--limit", "0"), "argument --limit: '0' is not a whole number above 0"),
    ],
    ids=" ".join,
)
def test_wrong_use_names_option_value_and_what_is_allowed(
    folder: Path, capsys: pytest.CaptureFixture[str], options: Sequence[str], named: str
) -> None:
    status, out, err = run(folder, capsys, *options)
    assert (status, out) == (2, "")
    assert named in err


def test_a_policy_that_does_not_load_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((folder / "new.json").read_bytes())
    document["categories"][FRAUD]["fixed"] = [1, 2, 3]
    (folder / "new.json").write_text(json.dumps(document))
    status, out, err = run(folder, capsys)
    assert (status, out) == (2, "")
    assert FRAUD in err


def test_an_empty_file_is_no_success(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "audit.jsonl").write_bytes(b"\n")
    status, _, err = run(folder, capsys)
    assert status == 1
    assert "no decisions in" in err


def test_whatever_is_an_audit_record_is_counted() -> None:
    simulation = Simulation(load_bundle(candidate(packaged_bundle())), {})
    for name in ("audit-record.full", "audit-record.minimal"):
        sample = SAMPLES[name]
        assert isinstance(sample, AuditRecord)
        bare = [msgspec.structs.replace(each, verdict=NAMELESS) for each in sample.attempts]
        for record in (sample, msgspec.structs.replace(sample, attempts=tuple(bare))):
            simulation.add(record)
            explained(record, Policies(packaged_bundle()))
    assert simulation.result().decisions == 4


def test_names_that_records_bring_along_do_not_grow_without_bound() -> None:
    simulation = Simulation(packaged_bundle(), {})
    for index in range(NAMES_MAX + 50):
        simulation.add(msgspec.structs.replace(RECORDS[0], policy_ref=f"policy-{index}"))
    assert len(simulation.result().policies) == NAMES_MAX


@pytest.mark.kafka
def test_a_topic_is_read_to_its_end_in_either_notation(
    kafka: Kafka, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(kafka, folder, capsys)
    for index, record in enumerate(RECORDS[:40]):
        wire = Wire.MSGPACK if index % 2 else Wire.JSON
        headers = [(Header.CONTENT_TYPE.value, CONTENT_TYPE_MSGPACK.encode())] if index % 2 else []
        kafka.send_record(desk.topics["audit"], encode(record, wire), b"c", headers)
    kafka.send_record(desk.topics["audit"], b"{}", b"c", [])
    new = str(folder / "new.json")
    status, out, err = desk.run("policy", "simulate", "--policy", new, "--json")
    assert (status, counted(out).decisions) == (1, 40)
    assert f"not audit records: 1, at {desk.topics['audit']}-" in err
    assert desk.run("policy", "simulate", "--policy", new, "--since", "1h", "--json")[0] == 1
    assert desk.run("policy", "simulate", "--policy", new, "--from-audit", "no.such.topic")[0] == 1


@pytest.mark.kafka
def test_the_audit_topic_can_be_kept_as_a_file(kafka: Kafka, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(kafka, folder, capsys)
    for record in RECORDS[:20]:
        kafka.send_record(desk.topics["audit"], encode(record), record.conversation_id.encode(), [])
    status, out, err = desk.run("tail", "--audit", "--all")
    assert (status, err) == (0, "")
    (folder / "audit.jsonl").write_text(out)
    assert sorted(out.splitlines()) == sorted(encode(record).decode() for record in RECORDS[:20])
    assert counted(run(folder, capsys, "--json")[1]).decisions == 20
    assert len(desk.run("tail", "--audit", "--all", "--count", "3")[1].splitlines()) == 3
