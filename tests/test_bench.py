"""Measuring: that everything runs and is told rightly. No test looks at how long anything takes."""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import bench, nn
from numbaconv.bench import (
    conv,
    exact,
    layers,
    measure,
    onnxfile,
    process,
    profile,
    replay,
    report,
    scaling,
    shapes,
    table,
    twin,
)
from numbaconv.bench.peak import Peak
from numbaconv.graph import Graph, compile_graph
from numbaconv.ops import Case
from numbaconv.visual import roofline

ROOT = Path(__file__).resolve().parents[1]
TINY = shapes.ConvLayer("tiny", 17, 4, 8, 6, 3, stride=2, padding=1, groups=2, bias=True)
FEW = shapes.ConvLayer("few", 2, 3, 7, 5, 3, padding=1)

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
needs_onnxruntime = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)

AGAINST_TORCH = ("torch",) if importlib.util.find_spec("torch") else ()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def quick(kind: str, **options: Any) -> bench.Report:
    """One round; checks what all reports must be."""
    found = bench.run(kind, rounds=1, **options)
    document = json.loads(found.to_json())
    assert document["kind"] == kind
    assert document["rows"] == json.loads(json.dumps(found)) == found
    assert len(list(csv.DictReader(io.StringIO(found.to_csv())))) == len(found) > 0
    assert document["facts"]["threads"] == found.facts["threads"] >= 1
    return found


# ---------------------------------------------------------------------------------------------------- the clock


def test_the_best_of_interleaved_rounds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    turns: list[str] = []

    def call(name: str, costs: itertools.cycle[float]) -> None:
        nonlocal now
        now += next(costs)
        turns.append(name)

    monkeypatch.setattr(measure.time, "perf_counter", lambda: now)
    monkeypatch.setattr(measure.time, "sleep", lambda seconds: None)
    slow, fast = itertools.cycle([3.0, 5.0, 4.0]), itertools.cycle([2.0, 1.0, 6.0])
    found = measure.interleaved({"slow": lambda: call("slow", slow), "fast": lambda: call("fast", fast)}, 4)
    assert found == {"slow": 3.0, "fast": 1.0}
    measured = turns[6:]  # each is warmed up twice and called once to see how long it takes
    assert measured == ["slow"] * 2 + ["fast"] * 4 + ["slow"] * 4 + ["fast"] * 4 + ["slow"] * 2


def test_short_calls_are_repeated_until_the_clock_can_see_them() -> None:
    count = 0

    def call() -> None:
        nonlocal count
        count += 1

    assert 0 < measure.interleaved({"short": call}, 1, 0.001)["short"] < 0.001
    assert count > 10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_is_a_peak(dtype: str) -> None:
    peak = Peak(1, dtype)
    first = peak.rate
    assert first > 0
    peak.saw(1e-9)
    assert peak.rate > first
    peak.saw(1e9)
    assert peak.rate > first


# ---------------------------------------------------------------------------------------------------- float64


@pytest.mark.parametrize("layer", [TINY, FEW])
def test_the_yardstick_is_the_definition(layer: shapes.ConvLayer) -> None:
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s) for s in (layer.input_shape, layer.weight_shape, layer.output_shape))
    geometry = layer.stride, layer.padding, layer.groups
    y = exact.forward(x, w, None, *geometry)
    assert y.shape == layer.output_shape
    wide = np.pad(x, ((0, 0), (0, 0), (layer.padding,) * 2, (layer.padding,) * 2))
    n, k, p, q = 1, layer.filters - 1, layer.output_size - 1, 1
    group = slice(layer.channels - w.shape[1], None)  # the last filter belongs to the last group
    rows, columns = (slice(o * layer.stride, o * layer.stride + layer.kernel) for o in (p, q))
    np.testing.assert_allclose(y[n, k, p, q], np.sum(wide[n, group, rows, columns] * w[k]))
    # The gradients are the adjoints: <g, conv(x, w)> is <input gradient, x> and <weight gradient, w>.
    np.testing.assert_allclose(np.vdot(exact.input_gradient(g, x, w, *geometry), x), np.vdot(g, y))
    np.testing.assert_allclose(np.vdot(exact.weight_gradient(g, x, w, *geometry), w), np.vdot(g, y))
    b = rng.standard_normal(layer.filters)
    np.testing.assert_allclose(exact.forward(x, w, b, *geometry), y + b[:, None, None])


# ---------------------------------------------------------------------------------------------------- tables of layers


def test_tables_of_layers_make_sense() -> None:
    for network, found in shapes.CONVOLUTIONS.items():
        names = [layer.name for layer in found]
        assert len(set(names)) == len(names), network
        assert len({tuple(vars(layer).values())[1:] for layer in found}) == len(found), f"{network}: a shape twice"
        assert found[0].first and not any(layer.first for layer in found[1:])
        assert all(layer.output_size >= 1 and layer.channels % layer.groups == 0 for layer in found)
    first, second = shapes.CONVOLUTIONS["lenet5"]
    assert first.flops == 2 * 64 * 6 * 28 * 28 * 25
    assert second.output_shape == (64, 16, 10, 10)
    assert [layer.batch for layer in shapes.convolutions(("lenet5",), 8)] == [8, 8]
    assert {layer.name.split()[0] for layer in shapes.convolutions(("all",))} == set(shapes.CONVOLUTIONS)
    assert first.bytes == 4 * (64 * 32 * 32 + 6 * 25 + 64 * 6 * 28 * 28)
    assert shapes.batches_of("lenet5").train == (64, 256) and shapes.batches_of("mobilenet").train == (128,)
    with pytest.raises(ValueError, match="no table of the layers of 'alexnet'"):
        shapes.convolutions(("alexnet",))


# ---------------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize("layer", [TINY, FEW])
def test_conv_measures_every_pass(layer: shapes.ConvLayer) -> None:
    seen: list[tuple[int, int]] = []
    found = quick("conv", layers=[layer], on_progress=lambda done, total, name: seen.append((done, total)))
    assert [row["direction"] for row in found] == list(conv.DIRECTIONS)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    for row in found:
        assert row["error"] < 1e-5
        assert row["ours_gflops"] > 0 and row["share_of_peak"] > 0
        assert row["ratio"] is None and row["torch_nchw_gflops"] is None
    assert found.facts["peak, GFLOP/s"] > 0 and found.facts["bandwidth, GB/s"] > 0


def test_the_first_layer_has_no_input_gradient() -> None:
    found = quick("conv", networks=("lenet5",), directions=[conv.INPUT], batch=16)
    assert [(row["name"], row["batch"]) for row in found] == [("lenet5 conv2", 16)]


@needs_torch
def test_conv_against_torch() -> None:
    found = quick("conv", against="torch", layers=[TINY])
    for row in found:
        assert row["ratio"] > 0
        best = max(row["torch_nchw_gflops"], row["torch_channels_last_gflops"])
        np.testing.assert_allclose(row["ratio"], row["ours_gflops"] / best)
    assert list(found.summary) == list(conv.DIRECTIONS)
    for summary in found.summary.values():
        assert summary["rows"] == 1 and summary["of"] == "tiny"
        np.testing.assert_allclose(summary["least ratio"], summary["geometric mean"])


@needs_torch
def test_layers_against_torch() -> None:
    some = [
        shapes.Layer("pool", "max_pool2d", Case({"x": (16, 3, 9, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1})),
        shapes.Layer("fc", "linear", Case({"x": (16, 20), "weight": (7, 20), "bias": (7,)})),
        shapes.Layer("log_softmax", "log_softmax", Case({"x": (16, 10)}, {"dim": 1})),
    ]
    found = quick("layers", against="torch", layers=some)
    assert [row["name"] for row in found[::2]] == [layer.name for layer in some]
    assert all(row["error"] < 1e-5 and row["ratio"] > 0 for row in found)


def test_layers_alone() -> None:
    found = quick("layers", layers=[shapes.Layer("t", "tanh", Case({"x": (16, 3)}))])
    assert [row["direction"] for row in found] == list(layers.DIRECTIONS)


def test_train_alone() -> None:
    (row,) = quick("train", batches=[8])
    assert row["ours_images_per_s"] > 0 and row["ratio"] is None and row["loss_error"] is None


@needs_torch
def test_train_against_torch() -> None:
    (row,) = quick("train", against=("torch",), batches=[16])
    assert row["ratio"] > 0 and row["loss_error"] < 1e-5 and row["torch_compile_images_per_s"] is None


@needs_torch
@needs_onnxruntime
def test_infer_against_both() -> None:
    found = quick("infer", against=("torch", "onnxruntime"), batches=[1, 9])
    for row in found:
        assert row["ratio"] > 0 and row["onnxruntime_ratio"] > 0 and row["error"] < 1e-5
    assert found.notes == []


@needs_onnxruntime
def test_onnxruntime_leaves_out_what_has_no_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(onnxfile._TRANSLATIONS, "tanh")
    found = quick("infer", against="onnxruntime", batches=[1])
    assert found[0]["onnxruntime_us"] is None
    assert found.notes == ["onnxruntime: lenet5 is left out, there is no translation of tanh to ONNX"]


@needs_onnxruntime
def test_onnx_documents_mean_the_same() -> None:
    import onnxruntime

    def features(x: Any) -> Any:
        y = F.max_pool2d(F.relu(F.conv2d(x, w, b, 2, (1, 2))), 3, 2, 1, ceil_mode=True)
        return F.flatten(F.avg_pool2d(F.sigmoid(y), 2, 1, 1, count_include_pad=False), 1)

    def network(x: Any) -> Any:
        return F.softmax(F.linear(features(x), v), dim=1)

    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s, np.float32) for s in ((3, 2, 12, 9), (4, 2, 3, 3), (4,)))
    v = rng.standard_normal((5, features(x).shape[1]), np.float32)
    graph = Graph()
    graph.output(network(graph.input(x.shape, x.dtype)))
    session = onnxruntime.InferenceSession(onnxfile.to_onnx(graph), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input0": x})[0], network(x), rtol=1e-5, atol=1e-6)


@needs_onnxruntime
def test_onnxruntime_merges_batch_normalisation_as_in_exported_networks(tmp_path: Path) -> None:
    import onnxruntime

    model = nc.models.mobilenet(width_multiplier=0.1, seed=2).eval()
    for name, buffer in model.named_buffers():
        buffer.data[...] = np.random.default_rng(1).random(buffer.shape) + name.endswith("var")
    x = np.random.default_rng(0).standard_normal((3, 3, 32, 32), np.float32)
    graph = Graph()
    graph.output(model(graph.input(x.shape)))
    document = onnxfile.to_onnx(graph)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    session = onnxruntime.InferenceSession(document, options, providers=["CPUExecutionProvider"])
    found = session.run(None, {"input0": x})[0]
    assert np.abs(found - model(x)).max() <= 1e-4 * np.abs(found).max()
    assert b"BatchNormalization" in document
    assert b"BatchNormalization" not in (tmp_path / "optimised.onnx").read_bytes()


def test_varints_are_those_of_protocol_buffers() -> None:
    assert [onnxfile._varint(n) for n in (0, 127, 300)] == [b"\x00", b"\x7f", b"\xac\x02"]
    assert onnxfile._varint(-1) == b"\xff" * 9 + b"\x01"


def test_profile_names_every_step_and_changes_nothing() -> None:
    w = nc.Variable(np.ones((3, 2, 3, 3), np.float32))
    x = np.random.default_rng(0).standard_normal((16, 2, 6, 6), np.float32)
    graph = Graph()
    leaf = graph.leaf(w)
    graph.output(F.sum(F.conv2d(graph.input(x.shape, x.dtype), leaf)))
    graph.update(leaf, leaf * 0.5)
    executable = compile_graph(graph)
    rows = list(profile.profile(bench.Session(rounds=1), executable, [x]))
    assert len(rows) == len(executable.plan.steps) + 1
    assert rows[-1].name == "whole run" and "conv" in {row.name for row in rows}
    assert (w.data == 1).all()


def test_debug_prints_each_plan_once_and_changes_no_result() -> None:
    program = """
        import numpy as np
        import numbaconv as nc
        trainer = nc.Trainer(nc.models.lenet5(), optimizer=nc.optim.SGD(lr=0.1, momentum=0.9), batch_size=8)
        x = np.random.default_rng(0).standard_normal((8, 1, 32, 32), np.float32)
        print(*(trainer.step(x, np.arange(8)).hex() for _ in range(3)))
    """

    def run(**variables: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env=environment, capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip

    told, silent = run(NUMBACONV_DEBUG="2"), run(NUMBACONV_DEBUG="")
    assert told.stdout == silent.stdout and silent.stderr == ""
    heading, columns, *steps = told.stderr.splitlines()
    assert heading.startswith(f"numbaconv: {len(steps) - 1} steps on float32 8x1x32x32, int64 8")
    assert [name for name in ("µs", "GFLOP/s", "GB/s", "of peak", "kernel") if name not in columns] == []
    assert any(step.startswith("conv_weight_grad") for step in steps) and steps[-1].startswith("whole run")


def test_profile_of_a_training_step() -> None:
    found = quick("profile", batch=8)
    assert {"conv", "conv_weight_grad", "sgd_update"} <= {row["name"] for row in found}


def test_a_replay_runs_a_part_and_needs_all_leaves() -> None:
    graph = Graph()
    x = graph.input((16, 4), np.float32)
    graph.output(F.tanh(x))
    with pytest.raises(ValueError, match="without inputs"):
        replay.Replay(compile_graph(graph))
    graph = Graph()
    graph.output(F.tanh(graph.leaf(np.ones((16, 4), np.float32))))
    again = replay.Replay(compile_graph(graph))
    again.only(lambda step: step.label == "tanh")()
    with pytest.raises(ValueError, match="none of the plan's steps"):
        again.only(lambda step: False)


def test_a_measured_process_says_when_it_is_done_or_why_not() -> None:
    run = process.run("import numpy")
    assert run.seconds > 0 and run.memory > 2**20
    with pytest.raises(RuntimeError, match="no good"):
        process.run("raise ValueError('no good')")


@pytest.mark.slow
def test_startup() -> None:
    found = quick("startup", against=AGAINST_TORCH, batch=8)
    assert all(row["seconds"] > 0 for row in found)
    assert {row["name"]: row["runs"] for row in found}["lenet5, batch 8: first step, empty cache"] == 1


@pytest.mark.slow
def test_memory() -> None:
    (row,) = quick("memory", against=AGAINST_TORCH, networks=["lenet5"], batches=[8])
    assert 20 < row["ours_mib"] < 1000 and (row["ratio"] is None) == (not AGAINST_TORCH)


@needs_torch
def test_the_program_of_a_twin_needs_no_numbaconv() -> None:
    import torch

    source = twin.torch_program(torch, nc.models.mobilenet(width_multiplier=0.1), (2, 3, 32, 32))
    assert "numbaconv" not in source
    names: dict[str, Any] = {}
    exec(source, names)
    assert names["model"](torch.ones(2, 3, 32, 32)).shape == (2, 10)


def test_scaling_has_a_row_for_each_number_of_threads() -> None:
    before = nc.get_threads()
    found = quick("scaling", against=AGAINST_TORCH, networks=["lenet5"], batches=[8, 16])
    counts = scaling.thread_counts(before)
    assert [(row["batch"], row["threads"]) for row in found] == [(batch, n) for batch in (8, 16) for n in counts]
    assert all(row["ours_images_per_s"] > 0 and (row["ratio"] or 1) > 0 for row in found)
    assert found[0]["speedup"] == 1 and nc.get_threads() == before
    assert [scaling.thread_counts(n) for n in (1, 2, 3, 8)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8]]


# ---------------------------------------------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "magic"}, "there is no 'magic', only conv, layers, train, infer, startup, memory, scaling, profile"),
        ({"kind": "conv", "rounds": 0}, "rounds must be 1 or more, got 0"),
        ({"kind": "conv", "against": "caffe"}, "bench conv: cannot be measured against caffe, only against torch"),
        ({"kind": "train", "against": "onnxruntime"}, "bench train: cannot be measured against onnxruntime"),
        ({"kind": "profile", "against": "torch"}, "about ours alone"),
        ({"kind": "conv", "directions": ["sideways"]}, "there is no pass 'sideways'"),
        ({"kind": "layers", "directions": ["sideways"]}, "there is no pass 'sideways'"),
        ({"kind": "train", "networks": ["lenet6"]}, "did you mean 'lenet5'"),
        ({"kind": "conv", "threads": 100_000}, "threads"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench.run(**arguments)


@pytest.mark.parametrize(("name", "title"), [("torch", "PyTorch"), ("onnxruntime", "onnxruntime")])
def test_a_missing_library_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, name: str, title: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"^{title} is not installed: pip install {name}$"):
        bench.run("infer", against=name)


def test_other_libraries_are_imported_only_when_asked_for() -> None:
    program = """
        import sys
        from numbaconv import bench
        assert "numba" not in sys.modules or "torch" not in sys.modules
        bench.run("infer", rounds=1, batches=[8])
        assert not {"torch", "onnxruntime"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, check=True, timeout=300)


@needs_torch
def test_a_network_without_twin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delitem(twin._TRANSLATIONS, "tanh")
    with pytest.raises(ValueError, match="there is no translation of tanh to PyTorch"):
        twin.torch_twin(torch, nn.Tanh(), (3, 2))


# ---------------------------------------------------------------------------------------------------- reports


def a_report() -> bench.Report:
    rows = [
        conv.ConvRow(name="one", direction="forward", ratio=2.0, error=float("nan"), ours_gflops=123.456),
        conv.ConvRow(name="two, longer", direction="forward", ratio=0.5),
    ]
    return bench.Report("conv", rows, {"threads": 2, "peak, GFLOP/s": float("inf")}, ["a note"])


def test_what_is_not_finite_is_null_in_json() -> None:
    document = json.loads(a_report().to_json())
    assert document["rows"][0]["error"] is None and document["facts"]["peak, GFLOP/s"] is None
    assert document["summary"]["forward"] == {
        "rows": 2, "least ratio": 0.5, "of": "two, longer", "geometric mean": 1.0
    }  # fmt: skip


def test_tables_are_plain_lines_or_rich() -> None:
    plain, rich = io.StringIO(), Terminal()
    a_report().show(plain)
    a_report().show(rich)
    header, one, two = plain.getvalue().splitlines()[1:4]
    assert header.startswith("name") and "ours GFLOP/s" in header and "torch NCHW" not in header
    assert one.index("forward") == two.index("forward")
    assert "123.5" in one and "2.00" in one
    for printed in (plain.getvalue(), rich.getvalue()):
        assert "two, longer" in printed and "a note" in printed
        assert "forward: 2 rows, ratio at least 0.50 (two, longer), geometric mean 1.00\n" in printed
    table.show(bench.Report("conv", [], {}), plain)


def test_csv_has_a_line_of_names() -> None:
    first, second = csv.DictReader(io.StringIO(a_report().to_csv()))
    assert (first["name"], first["ratio"], first["error"]) == ("one", "2.0", "")
    assert second["name"] == "two, longer"
    assert report.Row(name="x").to_dict() == {"name": "x"}


def test_a_roofline_has_a_dot_and_a_number_for_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(roofline, "write_png", lambda figure, path: drawn.append(figure))
    rows = [
        {"name": f"net layer{i}", "direction": direction, "flop_per_byte": 3.0 + i // 10, "ours_gflops": 100.0}
        for direction in conv.DIRECTIONS
        for i in range(30)  # ten at each place
    ]
    assert roofline.draw_roofline(rows, 400.0, 30.0, tmp_path / "roof.png")
    figure = drawn[0]
    panels, keys = figure.axes[::2], figure.axes[1::2]
    assert [axes.get_title() for axes in panels] == list(conv.DIRECTIONS)
    for axes, key in zip(panels, keys, strict=True):
        assert len(axes.get_lines()[-1].get_xdata()) == 30
        assert [text.get_text() for text in axes.texts[2:]] == [str(n) for n in range(1, 31)]
        assert key.texts[0].get_text() == "1  net layer0  100"
    places = [text.get_position() for text in panels[0].texts[2:]]
    assert len({(round(x, 3), round(y, 3)) for x, y in places[:10]}) == 10
