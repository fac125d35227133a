"""The kernels on a GPU under NVIDIA's compute-sanitizer, which is part of the CUDA toolkit.

    pytest -m gpu tests/cuda/test_sanitizer.py

memcheck finds accesses outside the memory that was allocated, racecheck shared memory that threads read and write
without a barrier in between, synccheck barriers that some threads do not reach, initcheck global memory that is read
before it was written.  Within the arena of a plan memcheck sees no bounds between values; the emulator does.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

from numbaconv.kernels.cuda_state import state  # noqa: E402

pytestmark = pytest.mark.gpu

PROGRAM = Path(__file__).with_name("sanitized.py")
#: What the sanitizer exits with when it has found something.
FOUND = 77


def sanitizer() -> str | None:
    """Where the tool lies."""
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    beside = Path(sys.prefix, "lib").glob("python*/site-packages/nvidia/cu*/bin")
    folders = [*(str(Path(toolkit, "bin")) for toolkit in toolkits if toolkit), *map(str, beside)]
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=os.pathsep.join(folders))


@pytest.fixture(scope="module")
def tool() -> str:
    if (problem := state().problem) is not None:
        pytest.skip(problem)
    found = sanitizer()
    if found is None:
        pytest.skip("compute-sanitizer is not installed: it is part of the CUDA toolkit (cuda-sanitizer)")
    return found


@pytest.mark.parametrize("check", ["memcheck", "racecheck", "synccheck", "initcheck"])
@pytest.mark.parametrize("what", ["operators", "steps", "candidates"])
def test_the_sanitizer_finds_nothing(tool: str, what: str, check: str) -> None:
    program = [sys.executable, str(PROGRAM), what]
    subprocess.run(program, check=True)  # compiles, which would take long under the tool
    command = [tool, "--tool", check, "--error-exitcode", str(FOUND), *program]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("=========")]
    assert done.returncode == 0 and any("SUMMARY: 0" in line for line in lines), "\n".join(lines[:60] or [done.stdout])
