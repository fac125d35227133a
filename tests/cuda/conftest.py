"""What several files need: a CUDA driver without a GPU."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libcuda.so.1 that launches nothing; skips where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the fake driver with")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("fakecuda.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", str(folder / "libcuda.so.1"), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return folder
