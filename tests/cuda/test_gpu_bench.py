"""The measurement for a day with a GPU, rehearsed in the emulator and, where it crashes or hangs, on a fake driver."""

import importlib.util
import json
import math
import os

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

import faulty  # noqa: E402

from numbaconv import bench  # noqa: E402
from numbaconv.bench.gpu import operators, passes, turns  # noqa: E402
from numbaconv.bench.gpu.bars import bars  # noqa: E402
from numbaconv.bench.gpu.row import GpuRow  # noqa: E402
from numbaconv.bench.gpu.supervise import measure_apart  # noqa: E402
from numbaconv.bench.shapes import ConvLayer  # noqa: E402
from numbaconv.kernels import device  # noqa: E402
from numbaconv.kernels.cuda.emulated import EmulatedGpu  # noqa: E402

SMALL = ConvLayer("small", 2, 8, 6, 8, 3, padding=1)
LITTLE = {
    "apart": False, "layers": [SMALL], "compared": [SMALL], "precisions": ["tf32"], "elements": 1 << 16,
    "trained": [("lenet5", 2)], "inferred": [("lenet5", 1)], "reached": [], "with_operators": False,
}  # fmt: skip
AGAINST = ("torch",) if importlib.util.find_spec("torch") else ()


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setattr(turns, "TOUCHED", SMALL.bytes)
    monkeypatch.setattr(turns, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(passes, "TORCH_DEVICE", "cpu")
    with device.use(EmulatedGpu()):
        yield


def test_one_command_measures_everything(emulated, tmp_path):
    report = bench.run("gpu", AGAINST, rounds=1, save=tmp_path / "gpu.json", **LITTLE)
    assert report.notes == []
    names = [row["name"] for row in report]
    assert names.count("right: small") == 12 and names.count("small") == 3
    assert {"lenet5, batch 2", "lenet5, batch 1"} <= set(names)
    assert json.loads((tmp_path / "gpu.json").read_text()) == json.loads(report.to_json())
    assert report.facts["gpu"] == "emulator" and report.wrong == []
    measured = [row for row in report if row["name"] == "small"]
    assert all(row["ours_us"] > 0 and "correlate" in row["kernels"] for row in measured)
    assert [row["direction"] for row in measured][0] == "forward, tf32"
    assert all((row["ratio"] is not None) == bool(AGAINST) for row in measured)


def test_operators_that_memory_decides(emulated):
    nothing = {**LITTLE, "layers": [], "compared": [], "inferred": [], "elements": 1 << 16}
    report = bench.run("gpu", rounds=1, **{**nothing, "trained": [], "precisions": ["fp32", "bf16"]})
    assert report.notes == [] and len(report) == 16
    assert all(row["of_copy"] > 0 for row in report)


@pytest.mark.skipif(not AGAINST, reason="PyTorch is not installed")
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_networks_beside_pytorch(emulated, monkeypatch, precision):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "compile", lambda function: function)
    nothing = {**LITTLE, "layers": [], "compared": [], "precisions": [precision]}
    report = bench.run("gpu", AGAINST, rounds=1, **nothing)
    assert report.notes == []
    assert [row["direction"] for row in report if "batch " in row["name"]] == [
        f"training step, {precision}", f"inference, {precision}", f"training step, torch.compile, {precision}"
    ]  # fmt: skip
    assert all(row["ratio"] > 0 for row in report if "batch " in row["name"])


def test_operators_against_float64(emulated):
    (relu,) = (item for item in operators.items(["fp32"]) if item.name == "right: relu, case 1, fp32")
    (row,) = relu.measure(bench.Session())
    assert row.error == 0.0 and row.bound == 1e-5


@pytest.mark.slow
def test_every_operator_is_within_its_bound_at_every_precision(emulated):
    rows = [row for item in operators.items(device.PRECISIONS) for row in item.measure(bench.Session())]
    assert len(rows) > 400 and [row.name for row in rows if row.is_wrong] == []


def test_errors_of_results():
    exact = np.array([1.0, -4.0, np.inf, np.nan])
    assert operators._error(exact.astype(np.float32), exact, "fp32") == 0.0
    assert operators._error(np.float32([1.0, -3.0, np.inf, np.nan]), exact, "fp32") == 0.25
    assert math.isnan(operators._error(np.float32([1.0, -4.0, 7.0, np.nan]), exact, "fp32"))
    assert math.isnan(operators._error(np.array([1, 2]), np.array([1, 3]), "fp32"))


def test_wrong_results_and_failures_are_told_and_end_nothing(emulated, monkeypatch):
    monkeypatch.setattr(passes, "_exact", lambda layer, direction: np.float64(np.nan))

    def broken(*arguments):
        raise device.DeviceError("an illegal memory access was encountered")

    monkeypatch.setattr(passes, "measure_pass", broken)
    report = bench.run("gpu", rounds=1, **{**LITTLE, "trained": [], "inferred": []})
    assert len(report.wrong) == 12 and report.wrong[0] == "right: small, forward, fp32"
    assert report.notes == [
        f"small, {direction}, tf32: DeviceError: an illegal memory access was encountered"
        for direction in ("forward", "input gradient", "weight gradient")
    ]
    assert report.bars[0] == {"what": "wrong results", "bar": 0, "found": 12.0, "met": False}


def test_processes_that_crash_or_hang_cost_their_own_item_alone(fake, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake))
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(faulty.__file__))
    names = [item.name for item in faulty.items()]
    session, saved = bench.Session(), []
    rows = measure_apart((faulty.items, {}, (), 1), names, session, 60.0, lambda rows: saved.append(len(rows)))
    assert [row.name for row in rows] == [name for name in names if name == "first" or name.startswith("behind")]
    assert session.device == "Fake GPU" and saved[-1] == len(rows)
    assert [note.partition(":")[0] for note in session.notes] == ["crash", "hang", "fault", "loss of the GPU"]
    assert session.notes[0].startswith("crash: ended the process") and session.notes[1] == "hang: took too long"
    assert session.notes[2] == "fault: ZeroDivisionError: division by zero"


def test_what_there_is_no_time_for_is_told(fake, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake))
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(faulty.__file__))
    session = bench.Session()
    assert measure_apart((faulty.items, {}, (), 1), ["first", "crash"], session, 0.0, lambda rows: None) == []
    assert session.notes == ["left out for want of time: first; crash"]


def test_bars():
    rows = [
        GpuRow(name="right: a", direction="forward, tf32, wgmma", error=2e-3, bound=1e-3),
        GpuRow(name="right: b", direction="operator, fp32", error=1e-6, bound=1e-5),
        GpuRow(name="a", direction="forward, tf32", ratio=0.5, ours_us=2.0),
        GpuRow(name="a", direction="forward, tf32, wgmma", ours_us=1.5),
        GpuRow(name="a", direction="forward, tf32, tma", ours_us=1.0),
        GpuRow(name="b", direction="forward, tf32", ratio=2.0, ours_us=2.0),
        GpuRow(name="b", direction="forward, tf32, wgmma", ours_us=4.0),
        GpuRow(name="relu", direction="memory, fp32", of_copy=0.95),
        GpuRow(name="resnet18, batch 1", direction="inference, bf16", ratio=3.0),
        GpuRow(name="mnist-lenet5, 4 epochs", direction="goal 99.0%, tf32", accuracy=0.991, train_seconds=1.5),
        GpuRow(name="cifar10-fast, 24 epochs", direction="goal 94.0%, tf32", accuracy=0.93, train_seconds=9.0),
    ]
    found = {bar.what: (bar.found, bar.met) for bar in bars(rows)}
    mean = "convolutions, forward, tf32, times cuDNN's speed, geometric mean"
    assert found["wrong results"] == (1, False)
    assert found["largest error, tf32 (a, forward, tf32, wgmma)"] == (2e-3, False)
    assert found[mean] == (pytest.approx(1.0), True)
    assert found[f"the same by the faster candidate of each: {mean}"] == (pytest.approx(2**0.5), True)
    assert found["operators that memory decides, of a copy's bandwidth, least (relu, memory, fp32)"] == (0.95, True)
    assert found["resnet18, batch 1, inference, times PyTorch's speed (inference, bf16)"] == (3.0, True)
    assert found["lenet5, batch 256, training step, times PyTorch's speed"] == (None, None)
    assert found["mnist-lenet5 to 99.0%, seconds of training"] == (1.5, True)
    assert found["cifar10-fast to 94.0%, seconds of training"] == (math.inf, False)


def test_convolutions_by_device(emulated):
    options = {"device": "cuda", "precisions": ["fp32", "bf16"], "directions": ["forward"]}
    report = bench.run("conv", rounds=1, layers=[SMALL], **options)
    assert [row["direction"] for row in report] == ["forward, fp32", "forward, bf16"]


def test_further_candidates_are_measured_where_they_serve(emulated, monkeypatch):
    monkeypatch.setattr(device.driver_for("cuda"), "architecture", "sm_90", raising=False)
    images = ConvLayer("images", 2, 3, 6, 8, 3, padding=1)  # whose rows are no whole 16 bytes
    options = {"device": "cuda", "precisions": ["bf16"], "directions": ["forward"]}
    report = bench.run("conv", rounds=1, layers=[SMALL, images], **options)
    found = [(row["name"], row["direction"].removeprefix("forward, bf16")) for row in report]
    assert found == [("small", ""), ("images", ""), ("small", ", wgmma"), ("images", ", wgmma"), ("small", ", tma")]
    assert "correlate_boxes" in report.rows[-1].kernels


def test_unknown_precision(emulated):
    with pytest.raises(ValueError, match="precision must be one of"):
        bench.run("gpu", rounds=1, layers=[SMALL], precisions=["int8"])
