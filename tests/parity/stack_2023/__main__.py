"""`python -m stack_2023 COMMAND ...`: each command writes files and says so in one line."""

import argparse
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    options = vars(_parser().parse_args())
    command: Callable[..., str] = options.pop("command")
    print(command(**options))  # noqa: T201 - the one line


def _tokenizer(out: Path) -> str:
    from .tokenizer import make_tokenizer

    return make_tokenizer(out)


def _model(tokenizer: Path, out: Path, seed: int, dtype: str) -> str:
    from .model import make_model

    return make_model(tokenizer, out, seed, dtype)


def _tokens(tokenizer: Path, rows: Path, out: Path, max_length: int, max_prompt_length: int) -> str:
    from .tokens import dump_tokens

    return dump_tokens(tokenizer, rows, out, max_length, max_prompt_length)


def _schedule(processes: int, out: Path, **options: int) -> str:
    from .schedule import Plan, dump_schedule

    return dump_schedule(Plan(**options), processes, out)


def _train(processes: int, **options: object) -> str:
    from .train import Recipe, dump_training

    return dump_training(Recipe(**options), processes)  # type: ignore[arg-type]  # argparse made the types


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stack_2023", description=__doc__)
    commands = parser.add_subparsers(required=True)

    tokenizer = commands.add_parser("tokenizer", help="make the fast tokenizer of Mistral 7B v0.1")
    tokenizer.set_defaults(command=_tokenizer)
    tokenizer.add_argument("out", type=Path)

    model = commands.add_parser("model", help="make a tiny random Mistral model")
    model.set_defaults(command=_model)
    model.add_argument("tokenizer", type=Path)
    model.add_argument("out", type=Path)
    model.add_argument("--seed", type=int, default=0)
    model.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")

    tokens = commands.add_parser("tokens", help="format, tokenize and truncate rows")
    tokens.set_defaults(command=_tokens)
    tokens.add_argument("--tokenizer", type=Path, required=True)
    tokens.add_argument("--rows", type=Path, required=True)
    tokens.add_argument("--out", type=Path, required=True)
    _lengths(tokens)

    schedule = commands.add_parser("schedule", help="record which rows each optimizer step consumes")
    schedule.set_defaults(command=_schedule)
    schedule.add_argument("--rows", type=int, required=True)
    schedule.add_argument("--out", type=Path, required=True)
    _order(schedule)

    train = commands.add_parser("train", help="train with DPO and LoRA, and dump every step")
    train.set_defaults(command=_train)
    train.add_argument("--model", type=Path, required=True)
    train.add_argument("--rows", type=Path, required=True)
    train.add_argument("--test-size", type=int, required=True)
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("--learning-rate", type=float, default=1e-3)
    train.add_argument("--warmup-ratio", type=float, default=0.1)
    train.add_argument("--beta", type=float, default=0.1)
    train.add_argument("--lora-r", type=int, default=64)
    train.add_argument("--lora-alpha", type=int, default=16)
    train.add_argument("--lora-dropout", type=float, default=0.1)
    train.add_argument("--bf16", action="store_true")
    _order(train)
    _lengths(train)
    return parser


def _order(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--accumulation", type=int, default=32)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)


def _lengths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--max-prompt-length", type=int, default=512)


if __name__ == "__main__":
    main()
