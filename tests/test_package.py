"""What is shipped: a wheel that works from any directory."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(directory),
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (wheel,) = directory.glob("*.whl")
    return wheel


def test_wheel_holds_all_files_of_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "trainbench").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names
    assert "trainbench/report/page/templates/page.html.j2" in names
    assert not any(name.startswith(("tests/", "scripts/")) for name in names)


def test_installed_wheel_finds_its_configurations_from_elsewhere(wheel, tmp_path):
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    program = f"import sys; sys.path.insert(0, {str(target)!r}); sys.argv = ['trainbench', '--cfg', 'job']; "
    program += "from trainbench import cli; print(cli.__file__); sys.exit(cli.main())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(target))
    assert "name: resnet50" in done.stdout
