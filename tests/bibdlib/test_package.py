"""The package as others get it: what importing it loads, and the wheel where there is no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "galois", "sympy", "numba", "scipy", "matplotlib", "networkx", "typer", "rich", "iddl_prune"}


def run(code: str, **kwargs) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "use", ["", "bibdlib.construct(7, 3, 1)", "bibdlib.existence(43, 7, 1)", "bibdlib.construct(25, 4)"]
)
def test_importing_and_simple_use_load_nothing_heavy(use):
    loaded = run(f"import sys, bibdlib\n{use}\nprint(*{{name.partition('.')[0] for name in sys.modules}})").split()
    assert not HEAVY & set(loaded)
    assert "numpy" in loaded


# What the wheel must do where torch cannot be imported, from a folder without the source tree.
WITHOUT_TORCH = """
import sys
from pathlib import Path
sys.modules["torch"] = None
import bibdlib
assert Path(bibdlib.__file__).is_relative_to(sys.argv[1]), bibdlib.__file__
assert Path(bibdlib.__file__).with_name("py.typed").exists()
assert bibdlib.verify(bibdlib.construct(13, 4, 1))
assert bibdlib.verify(bibdlib.construct(21, 5, 1))
from bibdlib.constructions.sporadic import entries
assert entries(6), "base blocks kept as data"
try:
    import iddl_prune
except ImportError as error:
    assert "pip install 'iddl[prune]'" in str(error), error
else:
    raise AssertionError("iddl_prune imports without torch")
from bibdlib.cli import main
sys.exit(main(["exists", "7", "3", "1"]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, capture_output=True, text=True, check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_installed_wheel_works_without_torch(wheel, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        tmp_path,
        wheel,
    ]
    subprocess.run(command, capture_output=True, check=True)
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(7, 3, 1) exists")
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"bibd", "iddl-prune"}
    assert not (tmp_path / "tests").exists()
