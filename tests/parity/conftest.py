"""`pytest tests/parity/mutations.py --parity DIR`: DIR is what `python -m tests.parity --out DIR` wrote."""

from pathlib import Path

import pytest

from tests.parity.judge import Judge


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity", type=Path, required=True, help="the folder of a comparison that was run")


@pytest.fixture(scope="session")
def compared(request: pytest.FixtureRequest) -> Path:
    """The folder of the comparison."""
    folder: Path = request.config.getoption("--parity")
    return folder.resolve()


@pytest.fixture(scope="session")
def theirs(compared: Path) -> Judge:
    """What the 2023 stack did."""
    return Judge(compared / "2023", None)
