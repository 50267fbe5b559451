"""What tests of both packages share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# This suite runs on shared, noisy machines: small models on one thread, and a slow example is no error.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("iddl", deadline=None, print_blob=True)
settings.load_profile("iddl")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and trained weights that some tests use where there is one."""
    folder = os.environ.get("IDDL_DATA")
    if not folder:
        pytest.skip("IDDL_DATA names no folder of data sets and trained weights")
    return Path(folder)


@pytest.fixture(scope="session")
def torchvision_data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST, Fashion-MNIST and CIFAR-10 as torchvision lays them out."""
    folder = tmp_path_factory.mktemp("torchvision")
    subprocess.run([sys.executable, shared / "data" / "unpack.py", folder], check=True, capture_output=True)
    return folder
