"""Guards of the tracker and of the offset map, each taken out on its own."""

from tests.simulation.modules import Change
from tests.simulation.mutation import MAP, ROUNDS, SOURCE, TRACKER, WINDOW, Mutation

_ADDED_IN_LIMBO = Change(
    TRACKER,
    "if window is not None and window.hold is Hold.OWNED:\n                accepted",
    "if window is not None:\n                accepted",
)

TRACKERS = (
    Mutation(
        "token not compared",
        "a dead result is taken",
        (Change(TRACKER, "if window is None or window.token != item.token:", "if window is None:"),),
    ),
    Mutation(
        "limbo ends whatever was committed",
        "what another member did meanwhile is done again",
        (Change(TRACKER, "if window is not None and window.position == position:", "if window is not None:"),),
    ),
    Mutation(
        "limbo compares the base alone",
        "what another member did above the base is done again",
        (Change(TRACKER, "window.position == position:", "window.position.offset == position.offset:"),),
    ),
    Mutation(
        "windows of lost partitions are kept",
        "what is somebody else's goes on",
        (Change(TRACKER, "if is_same_member and partition in self._assigned:", "if is_same_member:"),),
    ),
    Mutation(
        "results of dropped windows are kept",
        "they are committed with the next round",
        (Change(TRACKER, "self._rounds.drop(window)", "pass"),),
    ),
    Mutation(
        "an assignment is owned at once",
        "results are taken before the position was looked up",
        (Change(TRACKER, "self._windows[partition].hold = Hold.LIMBO", "self._windows[partition].hold = Hold.OWNED"),),
    ),
    Mutation(
        "limbo is suspended",
        "results are taken before the position was looked up",
        (
            Change(
                TRACKER,
                "if window is not None and window.hold is Hold.OWNED:\n                window.hold = Hold.SUSPENDED",
                "if window is not None:\n                window.hold = Hold.SUSPENDED",
            ),
        ),
    ),
    Mutation(
        "a position ends a suspension",
        "work starts while partitions are given up",
        (Change(TRACKER, "Hold.SUSPENDED if partition in self._suspended else Hold.OWNED", "Hold.OWNED"),),
    ),
    Mutation(
        "results in limbo are taken",
        "they are committed under a membership that may not own them",
        (
            Change(ROUNDS, "            if entry.window.hold is Hold.LIMBO:", "            if False:"),
            Change(ROUNDS, "        if window.hold is Hold.LIMBO:\n            return False\n", ""),
        ),
    ),
    Mutation(
        "the backlog of limbo starts",
        "work starts while partitions are given up",
        (Change(WINDOW, "if self.hold is not Hold.OWNED or not self.turns:", "if not self.turns:"),),
    ),
    Mutation(
        "records are taken in limbo",
        "a window gets records from where it may not stand",
        (_ADDED_IN_LIMBO, Change(SOURCE, "if partition not in self._unplaced:", "if True:")),
        is_strict=False,
    ),
    Mutation(
        "a round ends in another window",
        "a new window takes the position of an old round",
        (Change(ROUNDS, "if window is not None and window.token == token:", "if window is not None:"),),
    ),
    Mutation(
        "failed results of dropped windows come back",
        "they are committed again",
        (
            Change(
                ROUNDS,
                "for entry in self._taken if self._windows.get(entry.window.id) is entry.window]",
                "for entry in self._taken]",
            ),
        ),
    ),
    Mutation(
        "failed results come last",
        "a key's answers change places",
        (
            Change(
                ROUNDS,
                "for entry in reversed(kept):\n            entry.stage = Stage.READY\n"
                "            self._ready.appendleft(entry)",
                "for entry in kept:\n            entry.stage = Stage.READY\n            self._ready.append(entry)",
            ),
        ),
    ),
    Mutation(
        "an unreadable map is an empty one",
        "what it said was done is done again",
        (
            Change(
                TRACKER,
                "            self._stopped.add(partition)\n            raise",
                "            from msgspec.structs import replace\n\n"
                '            window = PartitionWindow(replace(position, metadata=""), token, self._map_limits)',
            ),
        ),
    ),
)

WINDOWS = (
    Mutation(
        "what was read is read again",
        "a record is held twice",
        (
            Change(WINDOW, "if record.offset < self.read_next:\n            return False\n        ", ""),
            Change(WINDOW, "self.is_full = not self._listed and (", "self.is_full = False and ("),
        ),
    ),
    Mutation(
        "what is done is read again",
        "a record below the map's end is held although it is done",
        (
            Change(
                WINDOW, "if record.offset < self.next:\n            return self._deliver_listed(record)\n        ", ""
            ),
        ),
    ),
    Mutation(
        "what vanished is waited for",
        "a compacted record that the map lists holds the partition up",
        (Change(WINDOW, "        self._forget_vanished(record.offset)\n", ""),),
    ),
    Mutation(
        "the window has no bound",
        "more is incomplete than the map can say",
        (
            Change(
                WINDOW,
                "while self._backlog and len(self._entries) < self.limits.incomplete_max:",
                "while self._backlog:",
            ),
        ),
    ),
    Mutation(
        "the map's budget is not looked at",
        "the window's bound does not fit the map",
        (Change(TRACKER, "min(self.incomplete_max, incomplete_max(self.map_chars_max))", "self.incomplete_max"),),
    ),
    Mutation(
        "reading pauses while records are to come again",
        "a full window waits for what it does not read",
        (Change(WINDOW, "self.is_full = not self._listed and (", "self.is_full = ("),),
    ),
    Mutation(
        "keys do not wait",
        "two of a key run at once",
        (Change(WINDOW, "return record.offset if record.key is None else record.key", "return record.offset"),),
    ),
    Mutation(
        "a key's next is forgotten",
        "it never starts",
        (Change(WINDOW, "        if line:\n            self._offer(line)\n", "        if line:\n            pass\n"),),
    ),
    Mutation(
        "the base passes what runs",
        "what has not finished counts as done",
        (Change(WINDOW, "if entry.stage is not Stage.TAKEN]", "if entry.stage not in {Stage.TAKEN, Stage.RUNNING}]"),),
    ),
    Mutation(
        "the base passes what is ready",
        "what is not in the round counts as done",
        (Change(WINDOW, "if entry.stage is not Stage.TAKEN]", "if entry.stage not in {Stage.TAKEN, Stage.READY}]"),),
    ),
    Mutation(
        "the base passes what has not come again",
        "what the map lists counts as done",
        (Change(WINDOW, "if entry.stage is not Stage.TAKEN]", "if entry.stage not in {Stage.TAKEN, Stage.LISTED}]"),),
    ),
    Mutation(
        "the map is not written",
        "what is done above the base is done again",
        (
            Change(
                WINDOW,
                "metadata = encode(base, self.next, left, budget_chars=self.limits.budget_chars)",
                'metadata = ""',
            ),
        ),
    ),
    Mutation(
        "the map is not taken over",
        "what it lists counts as done",
        (
            Change(WINDOW, "        self._listed.extend(done.incomplete)\n", ""),
            Change(WINDOW, "for offset in done.incomplete})", "for offset in ()})"),
        ),
    ),
    Mutation(
        "a round takes what finished meanwhile with it",
        "results are forgotten",
        (
            Change(
                ROUNDS, "        for entry in self._taken:\n", "        for entry in [*self._taken, *self._ready]:\n"
            ),
        ),
    ),
    Mutation(
        "the checksum is not compared",
        "a broken map is believed",
        (Change(MAP, "if _checksum(base, raw[:-_CHECKSUM_BYTES]) != raw[-_CHECKSUM_BYTES:]:", "if False:"),),
    ),
    Mutation(
        "another version is an empty map",
        "what it said was done is done again",
        (Change(MAP, "    if not text:\n", "    if text[:3] not in {_PLAIN, _DEFLATED}:\n"),),
    ),
)
