"""Every kernel compiles for every architecture within its budget; ``budget.py`` says what that is and writes it."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("numba.cuda.extending", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

import budget  # noqa: E402

BUDGET = json.loads(budget.FILE.read_text())


@pytest.fixture(scope="module")
def kernels() -> dict:
    return budget.kernels()


def test_the_budget_is_that_of_the_kernels(kernels: dict) -> None:
    assert list(BUDGET) == list(kernels), "run python tests/cuda/budget.py and look at the difference"


@pytest.mark.parametrize("label", list(BUDGET))
@pytest.mark.parametrize("architecture", budget.ARCHITECTURES)
def test_kernel(kernels: dict, label: str, architecture: str, tmp_path: Path) -> None:
    kernel = kernels[label]
    registers, spills, code = budget.compiled(kernel, architecture)
    assert spills == 0
    assert registers <= BUDGET[label][architecture]
    words = budget.wanted(kernel)
    if words:
        if shutil.which(budget.disassembler()) is None:
            pytest.skip("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
        found = budget.instructions(code, tmp_path)
        for word in words:
            assert any(instruction.startswith(word) for instruction in found), f"{word} is not among {sorted(found)}"
