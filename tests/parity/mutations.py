"""Each rule of 2023 broken on purpose, one at a time: the comparison has to notice every one.

Run by `nox -s parity` after the comparison, on what the 2023 stack wrote for it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from recipe import schedule
from recipe.prompt import Zephyr2023, zephyr_2023
from recipe.prompt.sides import Sides
from recipe.schedule import Place, Schedule
from tests.parity import cases, ours
from tests.parity.compare import compare_schedules, compare_steps, compare_tokens
from tests.parity.judge import Judge
from tests.support import Cli

Mutation = Callable[[pytest.MonkeyPatch], None]


def one_eos(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Zephyr2023, "end", lambda self, answers: answers)


def masked_last_eos(patch: pytest.MonkeyPatch) -> None:
    end = Zephyr2023.end

    def masked(self: Zephyr2023, answers: Sides) -> Sides:
        ended = end(self, answers)
        mask = ended.mask.copy()
        mask[ended.offsets[1:] - 1] = 0
        return dataclasses.replace(ended, mask=mask)

    patch.setattr(Zephyr2023, "end", masked)


def unmasked_eos(patch: pytest.MonkeyPatch) -> None:
    sides = Zephyr2023.sides

    def unmasked(self: Zephyr2023, *texts: Sequence[str]) -> list[Sides]:
        return [dataclasses.replace(one, mask=np.ones_like(one.mask)) for one in sides(self, *texts)]

    patch.setattr(Zephyr2023, "sides", unmasked)


def bos_in_front(patch: pytest.MonkeyPatch) -> None:
    text = Zephyr2023.prompt_text
    patch.setattr(Zephyr2023, "prompt_text", lambda self, prompt: "<s>" + text(self, prompt))


def no_empty_system_turn(patch: pytest.MonkeyPatch) -> None:
    text = Zephyr2023.prompt_text
    patch.setattr(
        Zephyr2023, "prompt_text", lambda self, prompt: text(self, prompt).removeprefix("<|system|>\n</s>\n")
    )


def stripped(patch: pytest.MonkeyPatch) -> None:
    turn = Zephyr2023.turn
    patch.setattr(
        Zephyr2023, "turn", lambda self, one: turn(self, {**one, "content": one["content"].strip()})
    )


def literal_specials_stay_text(patch: pytest.MonkeyPatch) -> None:
    turn = Zephyr2023.turn
    patch.setattr(
        Zephyr2023,
        "turn",
        lambda self, one: turn(self, {**one, "content": one["content"].replace("</s>", "</ s>")}),
    )


def no_dummy_prefix(patch: pytest.MonkeyPatch) -> None:
    sides = Zephyr2023.sides

    def without(self: Zephyr2023, *texts: Sequence[str]) -> list[Sides]:
        found = sides(self, *([f"\n{text}" for text in some] for some in texts))
        return [one.cut(2, one.lengths - 2) for one in found]  # ▁ and the newline

    patch.setattr(Zephyr2023, "sides", without)


def answers_cut_first(patch: pytest.MonkeyPatch) -> None:
    """The answers keep what the whole prompt leaves; the prompt is cut only where that is nothing."""

    def truncate(
        self: Zephyr2023, prompt: Sides, chosen: Sides, rejected: Sides, most: int, most_of_prompt: int
    ) -> tuple[Sides, Sides, Sides]:
        kept = np.minimum(prompt.lengths, most - 1)
        better, worse = (one.cut(0, np.minimum(one.lengths, most - kept)) for one in (chosen, rejected))
        return prompt.cut(prompt.lengths - kept, kept), better, worse

    patch.setattr(Zephyr2023, "truncate", truncate)


def each_answer_cut_on_its_own(patch: pytest.MonkeyPatch) -> None:
    truncate = Zephyr2023.truncate

    def alone(
        self: Zephyr2023, prompt: Sides, chosen: Sides, rejected: Sides, most: int, most_of_prompt: int
    ) -> tuple[Sides, Sides, Sides]:
        cut, *answers = truncate(self, prompt, chosen, rejected, most, most_of_prompt)
        room = most - cut.lengths
        better, worse = (
            whole.cut(0, np.where(whole.lengths <= room, whole.lengths, short.lengths))
            for whole, short in zip((chosen, rejected), answers, strict=True)
        )
        return cut, better, worse

    patch.setattr(Zephyr2023, "truncate", alone)


def prompt_keeps_its_beginning(patch: pytest.MonkeyPatch) -> None:
    truncate = Zephyr2023.truncate

    def beginning(
        self: Zephyr2023, prompt: Sides, chosen: Sides, rejected: Sides, most: int, most_of_prompt: int
    ) -> tuple[Sides, Sides, Sides]:
        cut, better, worse = truncate(self, prompt, chosen, rejected, most, most_of_prompt)
        return prompt.cut(0, cut.lengths), better, worse

    patch.setattr(Zephyr2023, "truncate", beginning)


def full_already_at_the_limit(patch: pytest.MonkeyPatch) -> None:
    truncate = Zephyr2023.truncate

    def strict(
        self: Zephyr2023, prompt: Sides, chosen: Sides, rejected: Sides, most: int, most_of_prompt: int
    ) -> tuple[Sides, Sides, Sides]:
        full = prompt.lengths + np.maximum(chosen.lengths, rejected.lengths) == most
        less = truncate(self, prompt, chosen, rejected, most - 1, most_of_prompt - 1)
        usual = truncate(self, prompt, chosen, rejected, most, most_of_prompt)
        kept = [np.where(full, one.lengths, other.lengths) for one, other in zip(less, usual, strict=True)]
        better, worse = chosen.cut(0, kept[1]), rejected.cut(0, kept[2])
        return prompt.cut(prompt.lengths - kept[0], kept[0]), better, worse

    patch.setattr(Zephyr2023, "truncate", strict)


def assistant_prefix_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        zephyr_2023, "ASSISTANT", zephyr_2023.ASSISTANT + "\0"
    )  # is nowhere at an answer's beginning
    patch.setattr(
        Zephyr2023, "prompt_text", lambda self, prompt, text=Zephyr2023.prompt_text: text(self, prompt)[:-1]
    )


def question_not_repeated_after_a_system_turn(patch: pytest.MonkeyPatch) -> None:
    text = Zephyr2023.answer_text
    patch.setattr(Zephyr2023, "answer_text", lambda self, prompt, answer: text(self, prompt[-1:], answer))


TOKEN_MUTATIONS: tuple[Mutation, ...] = (
    one_eos,
    masked_last_eos,
    unmasked_eos,
    bos_in_front,
    no_empty_system_turn,
    stripped,
    literal_specials_stay_text,
    no_dummy_prefix,
    answers_cut_first,
    each_answer_cut_on_its_own,
    prompt_keeps_its_beginning,
    full_already_at_the_limit,
    assistant_prefix_stays,
    question_not_repeated_after_a_system_turn,
)


@pytest.fixture(scope="session")
def tokens(theirs: Judge, compared: Path) -> Callable[[], bool]:
    """Say whether the tokens of all made-up rows are those of 2023, as our code is now."""
    files = [compared / "rows" / f"{name}.jsonl" for name in ("messages", "argilla")]
    return lambda: all(
        compare_tokens(file.stem, theirs.tokens(file), ours.tokens(file, theirs.tokenizer)).holds
        for file in files
    )


def test_tokens_are_equal_without_a_mutation(tokens: Callable[[], bool]) -> None:
    assert tokens()


@pytest.mark.parametrize("mutation", TOKEN_MUTATIONS)
def test_other_tokens_are_noticed(
    mutation: Mutation, tokens: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    assert not tokens()


def last_step_of_an_epoch_is_short(patch: pytest.MonkeyPatch) -> None:
    """As today's trainer has it: what is left of an epoch is a step of its own."""

    def ends(self: Schedule) -> list[int]:
        rounds, a = self.rounds_per_epoch, self.accumulation
        each = math.ceil(rounds / a)
        return [step // each * rounds + step % each * a for step in range(1, self.steps + 1)]

    patch.setattr(Schedule, "step_ends", ends)


def leftovers_are_dropped(patch: pytest.MonkeyPatch) -> None:
    steps = Schedule._steps

    def dropped(self: Schedule) -> object:
        rounds = self.rounds_per_epoch
        whole = dataclasses.replace(self, accumulation=1, steps=rounds * math.ceil(self.steps))
        found = [step[0] for step in steps(whole)]
        for epoch in count():
            for place in range(self.steps_per_epoch):
                if epoch * self.steps_per_epoch + place == self.steps:
                    return
                start = epoch * rounds + place * self.accumulation
                yield found[start : start + self.accumulation]

    patch.setattr(Schedule, "_steps", dropped)


def sampler_by_the_seed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(schedule, "UNSEEDED", 42)


def no_permutation_is_thrown_away(patch: pytest.MonkeyPatch) -> None:
    def orders(self: Schedule) -> object:
        generator = torch.Generator().manual_seed(schedule.UNSEEDED)
        while True:
            yield torch.randperm(self.rows, generator=generator).tolist()

    patch.setattr(Schedule, "_orders", orders)


def last_round_is_not_filled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(schedule, "cycle", lambda order: iter(()))


def first_rows_in_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch, "randperm", lambda rows, generator: torch.arange(rows))


STEP_MUTATIONS: tuple[Mutation, ...] = (
    last_step_of_an_epoch_is_short,
    leftovers_are_dropped,
    sampler_by_the_seed,
    no_permutation_is_thrown_away,
    last_round_is_not_filled,
    first_rows_in_order,
)


@pytest.mark.parametrize("mutation", STEP_MUTATIONS)
def test_other_rows_of_a_step_are_noticed(
    mutation: Mutation, theirs: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = theirs.schedule(cases.FULL_SIZE)
    assert compare_schedules("full size", wanted, ours.schedule(cases.FULL_SIZE)).holds
    mutation(monkeypatch)
    assert not compare_schedules("full size", wanted, ours.schedule(cases.FULL_SIZE)).holds


def dropout_is_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("trl.trainer.dpo_trainer.disable_dropout_in_model", lambda model: None)


def nothing(patch: pytest.MonkeyPatch) -> None:
    pass


def short_micro_batch_counts_by_its_pairs(patch: pytest.MonkeyPatch) -> None:
    places = Schedule.places
    patch.setattr(
        Schedule, "places", lambda self: [Place(one.row, float(one.weight > 0)) for one in places(self)]
    )


TRAINING_MUTATIONS: tuple[tuple[Mutation, dict[str, object], str | None], ...] = (
    (nothing, {}, None),
    (short_micro_batch_counts_by_its_pairs, {}, "loss"),
    (unmasked_eos, {}, "loss"),
    (dropout_is_on, {}, "loss"),
    (nothing, {"max_grad_norm": 1000.0}, "loss"),
)


@pytest.mark.parametrize(("mutation", "changed", "seen_in"), TRAINING_MUTATIONS)
def test_another_training_is_noticed(
    mutation: Mutation,
    changed: dict[str, object],
    seen_in: str | None,
    theirs: Judge,
    compared: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = cases.TRAININGS[0]
    mutation(monkeypatch)

    def run(*arguments: object) -> None:
        assert cli(*arguments).code == 0

    recipe = cases.write_recipe(
        tmp_path / "mutated.yaml", case, theirs.model(case), compared / "rows" / "short.jsonl", **changed
    )
    run("train", recipe, "--run", tmp_path / "run", "--quiet")
    findings = compare_steps("", theirs.training(case).steps, ours.logged_steps(tmp_path / "run"))
    failed = [finding.what.removeprefix(": ") for finding in findings if not finding.holds]
    assert seen_in in failed if seen_in else not failed
