"""The measurement for a day with a GPU, rehearsed in the emulator, and what it says without a GPU."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

from numbaconv import bench  # noqa: E402
from numbaconv.bench import gpu  # noqa: E402
from numbaconv.bench.shapes import ConvLayer  # noqa: E402
from numbaconv.kernels import device  # noqa: E402
from numbaconv.kernels.cuda.emulated import EmulatedGpu  # noqa: E402

SMALL = ConvLayer("small", 2, 8, 6, 8, 3, padding=1)


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setattr(gpu, "TOUCHED", SMALL.bytes)
    monkeypatch.setattr(gpu, "ROUND_SECONDS", 0.0)
    with device.use(EmulatedGpu()):
        yield


def test_one_command_measures_everything(emulated):
    small = {"layers": [SMALL], "compared": [SMALL], "precisions": ["tf32"], "elements": 1 << 12}
    report = bench.run("gpu", rounds=1, trained=[("lenet5", 2)], inferred=[("lenet5", 1)], **small)
    names = [row["name"] for row in report]
    assert names.count("right: small") == 12 and names.count("small") == 3
    assert {"copy", "relu", "batch_norm", "max_pool2d", "lenet5, batch 2", "lenet5, batch 1"} <= set(names)
    assert json.loads(report.to_json())["facts"]["gpu"] == "emulator"
    measured = [row for row in report if row["name"] == "small"]
    assert all(row["ours_us"] > 0 and "correlate" in row["kernels"] for row in measured)
    assert [row["direction"] for row in measured][0] == "forward, tf32"


def test_wrong_results_end_it(emulated, monkeypatch):
    monkeypatch.setattr(gpu, "pass_error", lambda *arguments: np.nan)
    with pytest.raises(ArithmeticError, match="small, forward, fp32: the error against float64 is nan"):
        bench.run("gpu", rounds=1, layers=[SMALL], compared=[SMALL], precisions=["fp32"])


def test_convolutions_by_device(emulated):
    options = {"device": "cuda", "precisions": ["fp32", "bf16"], "directions": ["forward"]}
    report = bench.run("conv", rounds=1, layers=[SMALL], **options)
    assert [row["direction"] for row in report] == ["forward, fp32", "forward, bf16"]


def test_unknown_precision(emulated):
    with pytest.raises(ValueError, match="precision must be one of"):
        bench.run("gpu", rounds=1, layers=[SMALL], precisions=["int8"])
