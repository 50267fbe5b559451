"""What all tests share: Hypothesis without a clock, and the way to the real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# This suite runs on shared, noisy machines: a slow example is no error.
settings.register_profile("iddl", deadline=None, print_blob=True)
settings.load_profile("iddl")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data and yardsticks that IDDL_DATA names."""
    folder = os.environ.get("IDDL_DATA")
    if not folder:
        pytest.skip("IDDL_DATA names no folder with the real data")
    return Path(folder)
