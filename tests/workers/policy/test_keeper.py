"""The policy in force is swapped as a whole, by what files hold; what cannot be loaded changes nothing."""

import asyncio
import logging
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.fakes import ManualClock
from tests.plugins.patience import wait_until
from tests.plugins.policy_publisher import CATEGORY, HIGH, LOW, document, overlay
from topology.contract.errors import PolicyError, PolicyRefusal
from topology.contract.events import SHADOWS_MAX
from topology.policy.budgets import UNLIMITED
from topology.policy.in_force import Policies
from topology.policy.loading import load_bundle
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.policy.files import PolicyFiles
from workers.policy.keeper import PolicyKeeper, PolicySource
from workers.process.clock import SystemClock
from workers.settings import PolicySettings, Settings

WAIT_S = 60.0


class Mount:
    """A directory as Kubernetes mounts it: files are links into a folder that is swapped as one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0
        (root / "overlays").mkdir()
        (root / "shadows").mkdir()
        (root / "budgets").mkdir()
        self.settings = Settings(
            policy=PolicySettings(
                bundle=str(root / "bundle.yaml"),
                overlays=str(root / "overlays"),
                shadows=str(root / "shadows"),
                budgets=str(root / "budgets"),
            )
        )

    def bundle(self, raw: bytes) -> None:
        """Swap the bundle as the kubelet does: another folder behind the same link, with an old time of change."""
        self._count += 1
        folder = self._root / f"..{self._count}"
        folder.mkdir()
        (folder / "bundle.yaml").write_bytes(raw)
        os.utime(folder / "bundle.yaml", (1, 1))
        (self._root / "..new").symlink_to(folder)
        (self._root / "..new").rename(self._root / "..data")
        if self._count == 1:
            (self._root / "bundle.yaml").symlink_to(Path("..data") / "bundle.yaml")

    def overlay(self, name: str, raw: bytes) -> None:
        (self._root / "overlays" / f"{name}.yaml").write_bytes(raw)

    def budget(self, name: str, raw: bytes) -> None:
        (self._root / "budgets" / f"{name}.yaml").write_bytes(raw)

    def shadow(self, name: str, raw: bytes) -> None:
        (self._root / "shadows" / f"{name}.yaml").write_bytes(raw)


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    made = Mount(tmp_path)
    made.bundle(document("1.0.0"))
    return made


class Desk:
    """A keeper that looks when it is told to."""

    def __init__(self, source: PolicySource) -> None:
        self.metrics = Instruments.none()
        self.clock = ManualClock()
        self.keeper = PolicyKeeper(source, source_name="file", interval_s=1, clock=self.clock, metrics=self.metrics)
        self.keeper.look()

    @property
    def version(self) -> str:
        return self.keeper.current().bundle.version

    def failures(self, why: PolicyRefusal) -> float:
        return self.metrics.value(Metric.POLICY_RELOAD_FAILURES, reason=why.value)

    def shown(self, raw: bytes) -> float:
        bundle = load_bundle(raw)
        return self.metrics.value(Metric.POLICY_INFO, version=bundle.version, hash=bundle.content_hash[:12])


def test_a_changed_file_is_in_force_after_the_next_look_and_the_metric_says_which(mount: Mount) -> None:
    desk = Desk(PolicyFiles(mount.settings))
    before = desk.keeper.current()
    mount.bundle(document("1.1.0", LOW))
    assert desk.keeper.current() is before
    desk.keeper.look()
    assert desk.keeper.current().bundle.categories[CATEGORY].fixed == LOW
    assert before.bundle.categories[CATEGORY].fixed == HIGH
    assert (desk.shown(document("1.0.0")), desk.shown(document("1.1.0", LOW))) == (0, 1)


def test_files_that_did_not_change_are_not_loaded_again(mount: Mount) -> None:
    desk = Desk(PolicyFiles(mount.settings))
    before = desk.keeper.current()
    mount.bundle(document("1.0.0"))
    desk.keeper.look()
    assert desk.keeper.current() is before


def test_overlays_and_shadows_come_and_go_with_their_files(mount: Mount, tmp_path: Path) -> None:
    desk = Desk(PolicyFiles(mount.settings))
    mount.overlay("acme", overlay("acme", caps={CATEGORY: 1}))
    mount.shadow("candidate", document("2.0.0", LOW))
    desk.keeper.look()
    assert desk.keeper.current().overlay_of("acme").caps == {CATEGORY: 1}
    assert [shadow.version for shadow in desk.keeper.current().shadows] == ["2.0.0"]
    (tmp_path / "overlays" / "acme.yaml").unlink()
    (tmp_path / "shadows" / "candidate.yaml").unlink()
    desk.keeper.look()
    assert (desk.keeper.current().overlays, desk.keeper.current().shadows) == ({}, ())


def test_budgets_come_and_change_with_their_files(mount: Mount) -> None:
    desk = Desk(PolicyFiles(mount.settings))
    desk.keeper.look()
    assert desk.keeper.current().budget_of("acme") is UNLIMITED
    mount.budget("acme", b"{tenant_id: acme, version: 1.0.0, weight: 3}")
    mount.budget("others", b"{tenant_id: '*', version: 1.0.0, weight: 2}")
    desk.keeper.look()
    assert [desk.keeper.current().budget_of(name).weight for name in ("acme", "unknown")] == [3, 2]
    mount.budget("acme", b"{tenant_id: acme, version: 1.0.1, weight: 0}")
    desk.keeper.look()
    assert desk.keeper.current().budget_of("acme").weight == 3


def test_two_budgets_of_one_tenant_are_refused(mount: Mount) -> None:
    for name in ("one", "two"):
        mount.budget(name, b"{tenant_id: acme, version: 1.0.0}")
    with pytest.raises(PolicyError, match=r"two.yaml: a second budget of tenant acme"):
        PolicyFiles(mount.settings).look()


def test_more_shadows_than_the_bound_are_refused(mount: Mount) -> None:
    for index in range(SHADOWS_MAX + 1):
        mount.shadow(f"candidate-{index}", document("2.0.0"))
    with pytest.raises(PolicyError, match=f"{SHADOWS_MAX + 1} shadows; at most {SHADOWS_MAX}"):
        PolicyFiles(mount.settings).look()


@pytest.mark.parametrize("broken", [document("1.1.0", (0, 1, 2)), b"a: [", b"", b"- 1\n", b"x" * 2_000_000], ids=len)
def test_a_broken_bundle_changes_nothing_and_is_told_once(
    mount: Mount, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(PolicyFiles(mount.settings))
    caplog.clear()
    mount.bundle(broken)
    for _ in range(3):
        desk.clock.advance(1)
        desk.keeper.look()
    assert desk.version == "1.0.0"
    assert desk.failures(PolicyRefusal.INVALID) == 1
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.message == "policy not loaded; the one in force stays"
    health = desk.keeper.health()
    assert health is not None
    assert health.refused_count >= 1
    assert health.failed_ms is not None
    mount.bundle(document("1.2.0"))
    desk.keeper.look()
    mended = desk.keeper.health()
    assert mended is not None
    assert (desk.version, mended.refused_count, mended.failed_ms) == ("1.2.0", 0, health.failed_ms)


def test_an_overlay_that_does_not_hold_under_a_new_bundle_keeps_the_old_one_whole(mount: Mount) -> None:
    mount.overlay("acme", overlay("acme", waives=["preaching"]))
    desk = Desk(PolicyFiles(mount.settings))
    rules = load_bundle(document("1.0.0")).soft_rules
    assert "preaching" in rules
    mount.overlay("acme", overlay("acme", caps={"made.up": 1}))
    mount.bundle(document("1.1.0"))
    desk.keeper.look()
    assert desk.version == "1.0.0"
    assert desk.keeper.current().overlay_of("acme").waives == ("preaching",)


def test_a_file_that_goes_away_keeps_the_policy_and_counts_as_unreadable(mount: Mount, tmp_path: Path) -> None:
    desk = Desk(PolicyFiles(mount.settings))
    (tmp_path / "..data" / "bundle.yaml").unlink()
    desk.keeper.look()
    desk.keeper.look()
    assert desk.version == "1.0.0"
    assert desk.failures(PolicyRefusal.UNREADABLE) == 1


@contextmanager
def started(source: PolicySource, interval_s: float = 0.01) -> Generator[PolicyKeeper]:
    keeper = PolicyKeeper(
        source, source_name="file", interval_s=interval_s, clock=SystemClock(), metrics=Instruments.none()
    )
    try:
        keeper.start()
        yield keeper
    finally:
        keeper.stop()


def test_a_start_without_a_policy_fails_with_its_reasons(tmp_path: Path) -> None:
    (tmp_path / "bundle.yaml").write_text("version: '1'\n")
    settings = Settings(policy=PolicySettings(bundle=str(tmp_path / "bundle.yaml")))
    with pytest.raises(PolicyError), started(PolicyFiles(settings)):
        pass


class Broken:
    """A source with a bug that shows after its first look."""

    refused = ()

    def __init__(self) -> None:
        self.is_closed = threading.Event()
        self._looks = 0

    def look(self) -> Policies | None:
        self._looks += 1
        if self._looks > 1:
            raise ZeroDivisionError
        return Policies(load_bundle(document("1.0.0")))

    def close(self) -> None:
        self.is_closed.set()


def test_a_bug_in_the_watching_ends_the_worker_and_not_the_watching_alone() -> None:
    source = Broken()
    with started(source) as keeper:
        assert source.is_closed.wait(WAIT_S)
        with pytest.raises(ZeroDivisionError):
            keeper.current()


def test_who_asks_while_policies_are_swapped_sees_one_or_the_other_whole(mount: Mount) -> None:
    """A bundle and an overlay change together, under readers on an event loop."""
    versions = {"1.0.0": 2, "1.1.0": 1}
    mount.overlay("acme", overlay("acme", "1.0.0", caps={CATEGORY: 2}))
    seen: set[tuple[str, int]] = set()

    async def ask(keeper: PolicyKeeper) -> None:
        while len(seen) < 2:
            policies = keeper.current()
            await asyncio.sleep(0)
            pair = (policies.bundle.version, policies.overlay_of("acme").caps[CATEGORY])
            assert versions[pair[0]] == pair[1]
            seen.add(pair)

    async def swap(keeper: PolicyKeeper) -> None:
        asked = [asyncio.create_task(ask(keeper)) for _ in range(8)]
        await asyncio.sleep(0.05)
        mount.shadow("not-yet", b"- holds back the load until both files are there")
        mount.bundle(document("1.1.0", LOW))
        mount.overlay("acme", overlay("acme", "1.1.0", caps={CATEGORY: 1}))
        mount.shadow("not-yet", document("9.0.0"))
        await asyncio.wait_for(asyncio.gather(*asked), WAIT_S)

    with started(PolicyFiles(mount.settings)) as keeper:
        asyncio.run(swap(keeper))
        wait_until(lambda: keeper.current().bundle.version == "1.1.0", WAIT_S)
    assert seen == {("1.0.0", 2), ("1.1.0", 1)}
