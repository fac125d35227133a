"""The CUDA engine on a GPU: the table of operators against float64, and a training step against the CPU's.

    pytest -m gpu tests/cuda
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

import test_backend as backend  # noqa: E402

import numbaconv as nc  # noqa: E402
from numbaconv.kernels.cuda_state import state  # noqa: E402

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def real() -> Iterator[None]:
    problem = state().problem
    if problem is not None:
        pytest.skip(problem)
    yield


@pytest.mark.parametrize("name, case", backend.CASES)
def test_operator(name: str, case: Any) -> None:
    backend.test_operator(name, case)


@pytest.mark.parametrize("name", backend.WITH_GRADIENTS)
def test_gradients_are_the_cpus(name: str) -> None:
    backend.test_gradients_are_the_cpus(name)


@pytest.mark.parametrize("network, size, channels", [("lenet5", 28, 1), ("resnet20", 32, 3)])
def test_networks_learn_as_on_the_cpu(network: str, size: int, channels: int) -> None:
    backend.assert_alike(
        lambda: nc.models.build(network, seed=0, in_channels=channels), steps=5, batch=16, size=size,
        channels=channels, pad=(32 - size) // 2, tolerance=1e-4,
    )  # fmt: skip


def test_every_run_gives_the_same_bits() -> None:
    def weights() -> dict[str, np.ndarray]:
        model = nc.models.build("resnet20", seed=0)
        return backend.Trained(model, "cuda", steps=4, batch=32, size=32, channels=3, pad=0).values

    first, second = weights(), weights()
    assert all(np.array_equal(first[name], second[name]) for name in first)
