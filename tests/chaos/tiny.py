"""A recipe whose training takes seconds and dozens of steps; and the layouts in which it is trained."""

from dataclasses import dataclass
from pathlib import Path

STEPS = 48
STEP_TIMEOUT = 8  # seconds: of all runs, as it is told in what they write
SETTINGS = {"max_steps": STEPS, "save_total_limit": 2, "step_timeout": STEP_TIMEOUT}


@dataclass(frozen=True)
class Layout:
    """How a run is laid: its processes, its engine, and how it logs and saves.

    Attributes:
        name: Of it.
        processes: How many train.
        settings: What is set beside the recipe, but for what saves.
        saving: What is set so that checkpoints are written.
    """

    name: str
    processes: int
    settings: tuple[str, ...]
    saving: tuple[str, ...]

    def arguments(self, recipe: Path, run: Path, more: tuple[str, ...] = ()) -> list[str]:
        """Return the arguments of `notus` that train it."""
        each = (f"devices={self.processes}", *self.settings, *self.saving, *more)
        return ["train", str(recipe), "--run", str(run), *(part for one in each for part in ("--set", one))]


OFTEN = ("save_strategy=steps", "save_steps=3")
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("1 packed", 1, ("engine=packed", "evaluation_strategy=epoch"), OFTEN),
        Layout("2 packed", 2, ("engine=packed", "logging_steps=10", "evaluation_strategy=epoch"), OFTEN),
        Layout("1 trl", 1, ("engine=trl", "logging_steps=10"), ("save_minutes=0.005",)),
        Layout("2 trl", 2, ("engine=trl",), ("save_strategy=epoch", "save_minutes=0.01")),
    )
}


def tiny_recipe(folder: Path) -> Path:
    """Write base, feedback and recipe; return the recipe."""
    from tests.tiny import write_tiny

    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
    return write_tiny(folder, sizes, **SETTINGS)
