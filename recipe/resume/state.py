"""What the state of a training is: all that its next step depends on, and what was logged so far.

Not among it: which rows come next, a pure function of the step (`recipe.schedule`), and torch's random numbers. Nothing
draws any in training: the rows have their order, and every dropout is switched off.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback

from recipe.resume.checkpoint import Checkpoint
from recipe.trainer import PreferenceTrainer

ADAPTER, OPTIMIZER = "adapter/", "optimizer/"

Layout = Mapping[str, Any]
"""What computed steps, as plain values: the same layout, the same bytes."""


def snapshot(trainer: PreferenceTrainer, layouts: Sequence[tuple[int, Layout]]) -> Checkpoint:
    """Copy the state of a training between two of its steps.

    Args:
        trainer: Is training, or has trained.
        layouts: What computed its steps: from which step on, and by what.
    """
    named = _trained(trainer)
    tensors = {ADAPTER + name: _copied(weight) for name, weight in named.items()}
    optimizer = _optimizer(trainer)
    values: dict[str, dict[str, Any]] = {}
    for name, weight in named.items():
        for kind, value in optimizer.state.get(weight, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{OPTIMIZER}{kind}/{name}"] = _copied(value)
            else:
                values.setdefault(name, {})[kind] = value
    assert trainer.lr_scheduler is not None
    facts = {
        "log": [dict(entry) for entry in trainer.state.log_history],
        "optimizer": {"values": values, "groups": _groups(optimizer)},
        "scheduler": trainer.lr_scheduler.state_dict(),
        "loss": [float(trainer._tr_loss), trainer._total_loss_scalar, trainer._globalstep_last_logged],
        "sums": trainer.sums,
        "trained": [trainer.trained_pairs, trainer.trained_tokens],
        "first": trainer.first,
        "clock": trainer.clock.state,
        "trained_to_the_end": any("train_loss" in entry for entry in trainer.state.log_history),
        "layouts": [[step, dict(layout)] for step, layout in layouts],
    }
    return Checkpoint(trainer.state.global_step, tensors, facts)


def from_rank_0(checkpoint: Checkpoint | None, device: torch.device) -> Checkpoint | None:
    """Return on every rank the checkpoint that rank 0 has; the others may not share its disk.

    Args:
        checkpoint: Rank 0's; of the others nothing is taken.
        device: Where tensors lie on their way.
    """
    if not (distributed.is_initialized() and distributed.get_world_size() > 1):
        return checkpoint
    first = distributed.get_rank() == 0
    told: list[Any] = [None]
    if first and checkpoint is not None:
        kinds = {name: (list(tensor.shape), str(tensor.dtype)) for name, tensor in checkpoint.tensors.items()}
        told = [(checkpoint.step, checkpoint.facts, kinds)]
    broadcast_object_list(told)
    if told[0] is None:
        return None
    step, facts, kinds = told[0]
    tensors = {}
    for name, (shape, dtype) in kinds.items():
        kind = getattr(torch, dtype.removeprefix("torch."))
        here = checkpoint.tensors[name].to(device) if first and checkpoint else None
        tensor = torch.empty(shape, dtype=kind, device=device) if here is None else here
        distributed.broadcast(tensor, 0)
        tensors[name] = tensor.cpu()
    return Checkpoint(step, tensors, facts)


def restore_adapter(trainer: PreferenceTrainer, checkpoint: Checkpoint) -> None:
    """Give the adapter its weights, and the trainer the rows of the steps that are left."""
    with torch.no_grad():
        for name, weight in _trained(trainer).items():
            weight.copy_(checkpoint.tensors[ADAPTER + name])
    trainer.start_after(checkpoint.step)


def restore_figures(trainer: PreferenceTrainer, checkpoint: Checkpoint) -> None:
    """Give the trainer what was logged and counted so far."""
    facts = checkpoint.facts
    trainer.state.global_step = checkpoint.step
    trainer.state.log_history = [dict(entry) for entry in facts["log"]]
    trainer.sums = facts["sums"]
    trainer.trained_pairs, trainer.trained_tokens = facts["trained"]
    trainer.first = tuple(facts["first"]) if facts["first"] else None
    trainer.clock.go_on_from(*facts["clock"])


def tell_tensorboard(trainer: PreferenceTrainer, log: Sequence[Mapping[str, Any]]) -> None:
    """Write the curves up to here again: their file went with the process that had begun it."""
    boards = [each for each in trainer.callback_handler.callbacks if isinstance(each, TensorBoardCallback)]
    state, step = trainer.state, trainer.state.global_step
    for entry in log:
        state.global_step = entry["step"]
        scalars = {name: value for name, value in entry.items() if name != "step"}  # no curve of its own
        for board in boards:
            board.on_log(trainer.args, state, trainer.control, logs=scalars)  # type: ignore[no-untyped-call]
    state.global_step = step


def close_tensorboard(trainer: PreferenceTrainer) -> None:
    """Have the curves on the disk, where no training ends that would do so."""
    for each in trainer.callback_handler.callbacks:
        if isinstance(each, TensorBoardCallback):
            each.on_train_end(trainer.args, trainer.state, trainer.control)  # type: ignore[no-untyped-call]


class Resume(TrainerCallback):
    """Restores the rest when training begins: before, there is no optimizer.

    Args:
        trainer: The trainer; has its adapter's weights already.
        checkpoint: What it goes on from.
    """

    def __init__(self, trainer: PreferenceTrainer, checkpoint: Checkpoint) -> None:
        self._trainer, self._checkpoint = trainer, checkpoint

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Restore optimizer, learning rate and figures, tell TensorBoard of the steps before, and evaluate if due."""
        trainer, facts = self._trainer, self._checkpoint.facts
        _restore_optimizer(trainer, self._checkpoint)
        assert trainer.lr_scheduler is not None
        trainer.lr_scheduler.load_state_dict(dict(facts["scheduler"]))
        restore_figures(trainer, self._checkpoint)
        loss, total, logged = facts["loss"]
        trainer._tr_loss.fill_(loss)
        trainer._total_loss_scalar, trainer._globalstep_last_logged = total, logged
        tell_tensorboard(trainer, facts["log"])
        if self._evaluation_is_missing(args, state):
            trainer.evaluate()

    def _evaluation_is_missing(self, args: TrainingArguments, state: TrainerState) -> bool:
        """Whether a notice came while the last step was evaluated."""
        step = state.global_step
        if args.eval_strategy == "no" or not args.eval_steps:
            return False
        if (
            step % args.eval_steps and step < state.max_steps
        ):  # after the last step it is evaluated in any case
            return False
        return not any(entry["step"] == step and "eval_loss" in entry for entry in state.log_history)


def _trained(trainer: PreferenceTrainer) -> dict[str, torch.nn.Parameter]:
    """Return the weights that are trained, by name."""
    return {name: weight for name, weight in trainer.tuned.named_parameters() if weight.requires_grad}


def _optimizer(trainer: PreferenceTrainer) -> torch.optim.Optimizer:
    assert trainer.optimizer is not None
    found: torch.optim.Optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    return found


def _groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return what the weights of each of the optimizer's groups have in common, the learning rate among it."""
    return [
        {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
    ]


def _restore_optimizer(trainer: PreferenceTrainer, checkpoint: Checkpoint) -> None:
    optimizer, kept = _optimizer(trainer), checkpoint.facts["optimizer"]
    whole = optimizer.state_dict()
    numbers = {
        id(weight): number
        for group, plain in zip(optimizer.param_groups, whole["param_groups"], strict=True)
        for weight, number in zip(group["params"], plain["params"], strict=True)
    }
    state: dict[int, dict[str, Any]] = {}
    for name, weight in _trained(trainer).items():
        found: dict[str, Any] = dict(kept["values"].get(name, {}))
        for key, tensor in checkpoint.tensors.items():
            if key.startswith(OPTIMIZER) and key.removeprefix(OPTIMIZER).partition("/")[2] == name:
                found[key.removeprefix(OPTIMIZER).partition("/")[0]] = tensor.clone()
        if found:
            state[numbers[id(weight)]] = found
    for plain, group in zip(whole["param_groups"], kept["groups"], strict=True):
        plain.update(group)
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy on the CPU that no later step changes."""
    return tensor.detach().to("cpu", copy=True).contiguous()
