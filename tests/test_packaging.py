"""The wheel: that it holds everything, and that it works where nothing else is."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.packaging,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="builds with what is in the clone's own .venv"),
]


def run(*command):
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built as a release is, from the tree and the page as they are."""
    out = tmp_path_factory.mktemp("wheel")
    run(Path(sys.prefix) / "bin" / "maturin", "build", "--release", "--locked", "--out", out)
    (built,) = out.glob("*.whl")
    return built


def test_one_wheel_serves_every_python_from_3_11(wheel):
    assert "-cp311-abi3-" in wheel.name


def test_the_wheel_holds_the_page_the_module_and_its_description(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert "parley/_native.abi3.so" in names
    assert "parley/_native.pyi" in names
    assert "parley/py.typed" in names
    assert "parley/console/static/index.html" in names
    assert any(name.startswith("parley/console/static/assets/") and name.endswith(".js") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "parley/tests")) or name.endswith(".map") for name in names)


def test_the_wheel_imports_where_nothing_else_is_installed(wheel, tmp_path):
    bare = tmp_path / "bare"
    run(sys.executable, "-m", "venv", bare)
    run(bare / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)

    version = run(bare / "bin" / "python", "-I", "-c", "import parley, parley._native; print(parley.__version__)")

    import parley

    assert version.strip() == parley.__version__
