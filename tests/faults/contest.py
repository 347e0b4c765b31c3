"""Many publishers at once, to the same repositories and tag, each with other content: one wins."""

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.faults.points import Bench, Whole, listing_of, wanted_of
from tests.faults.processes import Outcome, serving
from tests.faults.stored import Stored, fsck, left_over, look
from tests.faults.tiny import VERSION, copy_run, made_anew

SPREADS = (0.0, 0.3, 3.0)  # seconds within which they start, in turn
LONGEST = 900.0  # seconds of a publisher: they share the cores
PATIENCE = {"NOTUS_RETRY_SECONDS": "60", "NOTUS_TIMEOUT_SECONDS": "300"}


def contest(
    bench: Bench, whole: Whole, publishers: int, seed: int, defect: Callable[[], object] | None = None
) -> list[str]:
    """Hold a contest; return what did not hold, a line each."""
    rng = random.Random(seed)
    with made_anew(bench.folder / "contest") as place:
        hub = Path(shutil.copytree(bench.empty, place / "hub"))
        arguments, runs = [], []
        for number in range(publishers):  # the cards, now: the race is for the Hub
            own = ("--set", f"model_name=Contest {number}")
            runs.append(copy_run(whole.run, place / f"run-{number}"))
            arguments.append((*whole.arguments, *own))
            card = ("card", *whole.arguments[1:2], *own, "--quiet")
            made = bench.client(card, runs[-1], place, f"card-{number}").wait(LONGEST)
            if made.code:
                raise RuntimeError(f"the card of publisher {number} ended with {made.code}: {made.err}")
        spread = SPREADS[seed % len(SPREADS)]
        with serving(bench.listener, hub, place / "contest.jsonl", bench.shared, lambda _: None):
            start, go = os.pipe()  # after the Hub's fork, which would hold it open
            clients = [
                bench.client(
                    arguments[number],
                    runs[number],
                    place,
                    f"publish-{number}",
                    PATIENCE,
                    defect,
                    start=(start, go, rng.uniform(0, spread)),
                )
                for number in range(publishers)
            ]
            os.close(start)
            os.close(go)
            ended = [client.wait(LONGEST) for client in clients]
        wrong = _ends(ended) + fsck(hub) + left_over(hub)
        won = [number for number, one in enumerate(ended) if one.code == 0]
        for number, run in enumerate(runs):
            if number not in won and (run / "release.json").exists():
                wrong.append(f"publisher {number} did not win, and has a release.json")
            if left := [name for name in listing_of(run) if name.startswith((".readback", ".staged"))]:
                wrong.append(f"publisher {number} has left {left[0]}")
        if len(won) != 1:
            return wrong
        release = json.loads((runs[won[0]] / "release.json").read_text(encoding="utf-8"))
        wanted = wanted_of(Path(whole.arguments[1]), runs[won[0]], release)
        before = look(hub, wanted)
        wrong += _tags(before)
        with serving(bench.listener, hub, place / "again.jsonl", bench.shared, lambda _: None):
            again = bench.client(arguments[won[0]], runs[won[0]], place, "again", PATIENCE).wait(LONGEST)
        if again.code or look(hub, wanted) != before:
            wrong.append(
                f"the winner's second call ended with {again.code} and changed the Hub: {again.said}"
            )
        return wrong


def _ends(ended: Sequence[Outcome]) -> list[str]:
    wrong = [f"publisher {number}: {one.problem}" for number, one in enumerate(ended) if one.problem]
    won = sum(one.code == 0 for one in ended)
    if won != 1:
        wrong.append(f"{won} of {len(ended)} publishers say that they have won")
    for number, one in enumerate(ended):
        if one.code and "somebody" not in one.said and f"tag {VERSION}" not in one.said:
            wrong.append(f"publisher {number} does not say why it lost: {one.said}")
    return wrong


def _tags(stored: Mapping[str, Stored]) -> list[str]:
    wrong = [f"{repo} is not tagged" for repo, one in stored.items() if VERSION not in one.tags]
    for repo, one in stored.items():
        # The base has a tag of its content besides, whose card may be another's.
        wrong += [f"{repo} at {VERSION}: {line}" for line in one.wrong.get(f"refs/tags/{VERSION}", [])]
    return wrong
