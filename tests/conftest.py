"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Figures made with the official implementation; see tests/golden/README.md."""
    return GOLDEN


@pytest.fixture(scope="session")
def shared() -> Path:
    """The test data folder: YOSO_SHARED, or `shared` beside the checkout. Tests that use it are marked `data`."""
    folder = Path(os.environ.get("YOSO_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"test data not found in {folder}; set YOSO_SHARED")
    return folder
