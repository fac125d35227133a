"""The CUDA engine in the emulator: every operator that it has against float64, gradients and whole training steps
against the CPU's, arrays in and out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

from reference import REFERENCES, assert_close, make_arguments, terms  # noqa: E402

import numbaconv as nc  # noqa: E402
import numbaconv.functional as F  # noqa: E402
from numbaconv.graph import Graph, compile_graph, gradients  # noqa: E402
from numbaconv.graph.autodiff import flatten_tree  # noqa: E402
from numbaconv.kernels import device, dlpack  # noqa: E402
from numbaconv.kernels.cpu.backend import CPU  # noqa: E402
from numbaconv.kernels.cuda.emulated import EmulatedGpu  # noqa: E402
from numbaconv.kernels.cuda.lowering import BATCH, OPERANDS  # noqa: E402
from numbaconv.ops import FUNCTIONS, Spec  # noqa: E402
from numbaconv.ops.core import OPERATORS, Operator, apply, operator  # noqa: E402
from numbaconv.ops.patches import unfold_row  # noqa: E402
from numbaconv.ops.plane import plane_add  # noqa: E402
from numbaconv.training import checkpoint, tensorfile  # noqa: E402
from numbaconv.training.scaling import LossScale  # noqa: E402
from numbaconv.training.step import Penalties, TrainStep  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def gpu() -> Iterator[EmulatedGpu]:
    emulated = EmulatedGpu()
    with device.use(emulated):
        yield emulated


def compiled(name: str, arguments: dict[str, Any]) -> tuple[Any, list[np.ndarray]]:
    """A public function with its options bound, as a function of its arrays, and these."""
    arrays = {k: v for k, v in arguments.items() if _are_arrays(v)}
    options = {k: v for k, v in arguments.items() if k not in arrays}
    leaves, rebuild = flatten_tree(arrays)
    return (lambda *values: FUNCTIONS[name].function(**rebuild(values), **options)), leaves


def _are_arrays(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, list) and isinstance(value[0], np.ndarray))


def marks(name: str, position: int) -> list[Any]:
    """Tiles of matrix products are slow in the emulator; test_conv.py goes over all shapes with small ones."""
    return [pytest.mark.slow] if name.startswith("conv") and position else []


CASES = [
    pytest.param(name, case, id=f"{name}-{i}", marks=marks(name, i))
    for name, row in FUNCTIONS.items()
    for i, case in enumerate(row.cases)
]


@pytest.mark.parametrize("name, case", CASES)
def test_operator(name: str, case: Any) -> None:
    arguments = make_arguments(name, case, np.float32)
    function, arrays = compiled(name, arguments)
    try:
        results = nc.compile(function, device="cuda")(*arrays)
    except NotImplementedError as error:
        assert "has no CUDA kernel yet; run it on the CPU" in str(error)
        pytest.skip(str(error))
    expected = REFERENCES[name].function(**arguments)
    for found, wanted in zip(flatten_tree(results)[0], flatten_tree(expected)[0], strict=True):
        assert isinstance(found, nc.DeviceArray)
        assert_close(nc.to_host(found), wanted, terms(name, arguments))


class Collector(EmulatedGpu):
    """Runs nothing; keeps the kernels of what is launched."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: dict[str, Any] = {}

    def record(self, launches: Any) -> Any:
        self.kernels.update({launch.kernel.label: launch.kernel for launch in launches})
        return lambda: None


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_kernels_of_an_operator_compile(name: str) -> None:
    """The emulator is not as strict about types as the compiler."""
    collector = Collector()
    with device.use(collector):
        for case in FUNCTIONS[name].cases:
            function, arrays = compiled(name, make_arguments(name, case, np.float32))
            nc.compile(function, device="cuda")(*arrays)
            if REFERENCES[name].orders:
                nc.compile(lambda *values, f=function: with_gradients(f, *values), device="cuda")(*arrays)
    for kernel in collector.kernels.values():
        kernel.on("sm_90").compiled()


WITH_GRADIENTS = (
    "add", "avg_pool2d", "batch_norm", "concat", "conv2d", "cross_entropy", "fold", "fractional_max_pool2d", "gelu",
    "glu", "group_norm", "instance_norm", "layer_norm", "linear", "local_response_norm", "lp_pool2d", "max_pool2d",
    "max_unpool2d", "maxout", "nll_loss", "pad", "relu", "softplus", "stochastic_pool2d", "tanh", "unfold",
)  # fmt: skip


#: Functions whose examples go different ways.
IN_ALL_CASES = ("deform_conv2d", "grid_sample", "sparse_conv", "sparse_from_dense", "sparse_to_dense")


@pytest.mark.parametrize(
    "name, case",
    [
        pytest.param(name, case, id=f"{name}-{i}", marks=[pytest.mark.slow] if i else [])
        for name in (*WITH_GRADIENTS, *IN_ALL_CASES)
        for i, case in enumerate(FUNCTIONS[name].cases[: None if name in IN_ALL_CASES else 1])
    ],
)
def test_gradients_are_the_cpus(name: str, case: Any) -> None:
    assert_same_gradients(*compiled(name, make_arguments(name, case, np.float32)))


def assert_same_gradients(
    function: Any, arrays: list[np.ndarray], precision: str = "fp32", tolerance: float | None = None
) -> None:
    """The function's first result, and its gradients, on both devices."""

    found = nc.compile(lambda *values: with_gradients(function, *values), device="cuda", precision=precision)(*arrays)
    expected = nc.compile(lambda *values: with_gradients(function, *values), device="cpu")(*arrays)
    for ours, theirs in zip(flatten_tree(found)[0], flatten_tree(expected)[0], strict=True):
        assert_close(nc.to_host(ours), theirs, 100, tolerance)


def with_gradients(function: Any, *values: Any) -> Any:
    """The first result, and the gradients of a weighted sum of its squares."""
    y = flatten_tree(function(*values))[0][0]
    weights = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    return y, gradients((y * y * weights).sum(), [v for v in values if v.dtype.kind == "f"])


def between_pixels(x: Any) -> Any:
    places = np.linspace(-1.2, 1.2, 3 * 4 * 2 * 2, dtype=np.float32).reshape(3, 4, 2, 2)
    return F.grid_sample(x, places, padding_mode="border", align_corners=True)


#: Functions of images that work on either layout, or add up in memory.
ON_IMAGES = {
    "pad": lambda x: F.pad(x, (1, 2, 0, 3), "circular"),
    "pad to more than a pixel": lambda x: F.pad(F.adaptive_avg_pool2d(x, 1), (1, 2, 0, 3), value=0.5),
    "patches": lambda x: apply(unfold_row, (x,), {"kernel": (2, 3), "stride": (2, 1), "padding": ((1, 1), (0, 2)),
                                                  "dilation": (1, 2)}),
    "glu": lambda x: F.glu(x, dim=1),
    "maxout": lambda x: F.maxout(x, 3),
    "maxout to one channel": lambda x: F.maxout(x, 6),
    "rrelu": lambda x: F.rrelu(x, training=True, key=np.array([3, 4])),
    "max_unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "grid_sample": between_pixels,
    "stochastic_pool": lambda x: F.stochastic_pool2d(F.relu(x), 3, 2, padding=1, key=np.array([5, 6])),
}  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ON_IMAGES)
def test_images_in_nhwc(name: str, precision: str) -> None:
    # small whole numbers and sums of few of them are exact in bf16
    x = np.random.default_rng(0).integers(-8, 9, (3, 6, 8, 9)).astype(np.float32)

    def function(x: Any) -> Any:
        y = ON_IMAGES[name](F.avg_pool2d(x, 1))  # pooling takes and leaves NHWC
        return F.avg_pool2d(y, 1)

    assert_same_gradients(function, [x], precision, None if precision == "fp32" else 0.02)


@pytest.mark.parametrize("size", [(40, 40), (7, 300)])
def test_what_falls_on_one_place_is_added_in_order(size: tuple[int, int]) -> None:
    """Places of large planes, cut into ranges; many for one pixel."""
    rng = np.random.default_rng(3)
    places = rng.choice([0, 5, 6, size[0] * size[1] - 1, -1], (2, 3, 20, 5))
    values = rng.standard_normal((2, 3, 20, 5)).astype(np.float32)
    expected = np.zeros((6, size[0] * size[1]), np.float32)
    for plane, (at, given) in enumerate(zip(places.reshape(6, -1), values.reshape(6, -1), strict=True)):
        for i, v in zip(at, given, strict=True):
            if i >= 0:
                expected[plane, i] += v
    found = nc.compile(lambda v, i: apply(plane_add, (v, i), {"size": size}), device="cuda")(values, places)
    np.testing.assert_array_equal(nc.to_host(found).reshape(6, -1), expected)


# ------------------------------------------------------------------------------------------------ training steps


class Residual(nc.nn.Module):
    """ResNet-20 in small: a block with batch norms and a shortcut, one with stride 2 and a projection, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        nc.manual_seed(0)
        self.stem = nc.nn.Sequential(nc.nn.Conv2d(3, 8, 3, padding=1, bias=False), nc.nn.BatchNorm2d(8), nc.nn.ReLU())
        self.first = self._body(8, 8, 1)
        self.second = self._body(8, 16, 2)
        self.projection = nc.nn.Sequential(nc.nn.Conv2d(8, 16, 1, stride=2, bias=False), nc.nn.BatchNorm2d(16))
        self.classifier = nc.nn.Linear(16, 10)

    @staticmethod
    def _body(channels: int, width: int, stride: int) -> nc.nn.Module:
        return nc.nn.Sequential(
            nc.nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False), nc.nn.BatchNorm2d(width),
            nc.nn.ReLU(), nc.nn.Conv2d(width, width, 3, padding=1, bias=False), nc.nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        x = F.relu(self.first(x) + x)
        x = F.relu(self.second(x) + self.projection(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Trained:
    """Losses, right answers and variables after some steps on a device."""

    def __init__(
        self, model: Any, where: str, steps: int, batch: int, size: int, channels: int, pad: int,
        precision: str = "fp32",
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (20, channels, size, size), dtype=np.uint8)
        labels = rng.integers(0, 10, 20)
        optimizer = nc.optim.SGD(lr=0.05, momentum=0.9, weight_decay=1e-3)
        specs = Spec(images.shape, images.dtype), Spec(labels.shape, labels.dtype)
        step = TrainStep(
            model, F.cross_entropy, optimizer, batch, *specs,
            mean=(0.3,) * channels, std=(0.5,) * channels, pad=pad, device=where, precision=precision,
            augmentation=nc.training.Augmentation(shift=1, flip=True, cutout=3),
        )  # fmt: skip
        self.results = []
        for _ in range(steps):
            chosen = rng.integers(0, 20, batch)
            self.results.append([float(v) for v in step(images, labels, chosen)])
            optimizer.step_count += 1
        self.step = step
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.values = {name: variable.data.copy() for name, variable in named.items()}


def assert_alike(make: Any, tolerance: float = 1e-5, **how: Any) -> None:
    ours, theirs = (Trained(make(), where, **how) for where in ("cuda", "cpu"))
    np.testing.assert_allclose(ours.results, theirs.results, rtol=tolerance)
    for name, expected in theirs.values.items():
        scale = max(float(np.abs(expected).max()), 1e-3)
        np.testing.assert_allclose(ours.values[name], expected, rtol=0.0, atol=tolerance * scale, err_msg=name)


def test_lenet5_learns_as_on_the_cpu() -> None:
    assert_alike(lambda: nc.models.build("lenet5", seed=0), steps=2, batch=4, size=28, channels=1, pad=2)


def test_a_residual_network_learns_as_on_the_cpu() -> None:
    assert_alike(Residual, steps=2, batch=5, size=10, channels=3, pad=0)


@pytest.mark.parametrize("precision, tolerance", [("tf32", 2e-3), ("bf16", 2e-2), ("fp16", 2e-3)])
def test_a_residual_network_learns_at_every_precision(precision: str, tolerance: float) -> None:
    how = {"steps": 2, "batch": 5, "size": 10, "channels": 3, "pad": 0}
    ours, theirs = Trained(Residual(), "cuda", precision=precision, **how), Trained(Residual(), "cpu", **how)
    losses, expected = (np.array(trained.results)[:, 0] for trained in (ours, theirs))
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    outputs = [buffer for step in ours.step.executable.plan.steps for buffer in step.outputs]
    assert {buffer.dtype for buffer in outputs if buffer.layout == BATCH} == {OPERANDS[precision]}
    assert all(value.dtype.itemsize >= 4 for value in ours.values.values())


def scaled_steps(
    where: str, size: float, scale: LossScale | None, steps: int = 1, penalties: Penalties | None = None
) -> tuple[TrainStep, dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    """Steps whose losses are ``size`` times as large, in fp16 on the GPU: variables before, and after each step."""
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((5, 3, 10, 10)).astype(np.float32), rng.integers(0, 10, 5)
    model, optimizer = Residual(), nc.optim.SGD(lr=0.05 / size, momentum=0.9)
    specs = Spec(images.shape, images.dtype), Spec(labels.shape, labels.dtype)
    step = TrainStep(
        model, lambda scores, targets: F.cross_entropy(scores, targets) * size, optimizer, 5, *specs, scale=scale,
        penalties=penalties, device=where, precision="fp16" if where == "cuda" else "fp32",
    )  # fmt: skip
    parameters = dict(model.named_parameters())
    slots = {f"momentum of {n}": slot for n, p in parameters.items() for slot in optimizer.slots_of(p)}
    variables = {**parameters, **slots}
    found = [{name: v.data.copy() for name, v in variables.items()}]
    for _ in range(steps):
        step(images, labels, np.arange(5))
        optimizer.step_count += 1
        found.append({name: v.data.copy() for name, v in variables.items()})
    return step, found[0], found[1:]


@pytest.mark.parametrize("penalties", [None, Penalties(clip_norm=1e3)], ids=["plain", "clipped"])
def test_an_overflow_skips_the_step_and_halves_the_scale(penalties: Penalties | None) -> None:
    scale = LossScale(initial=2.0**16, interval=2)
    _, before, (first, *later) = scaled_steps("cuda", 10.0, scale, steps=5, penalties=penalties)
    for name, value in before.items():
        np.testing.assert_array_equal(first[name], value, err_msg=name)
    moved = [any((a[n] != b[n]).any() for n in a) for a, b in zip([first, *later], later, strict=False)]
    assert moved == [True, True, False, True]  # two good steps doubled the scale again
    assert all(np.isfinite(v).all() for v in later[-1].values())
    assert {name: float(a) for name, a in scale.arrays.items()} == {"scale": 2.0**15, "good_steps": 1.0}


def test_small_gradients_survive_by_scaling_alone() -> None:
    """Of a loss of 1e-7 they vanish; scaled they are those of a loss of 1, and the CPU's within the error of fp16."""
    _, before, (exact,) = scaled_steps("cpu", 1e-7, None)
    _, _, (large,) = scaled_steps("cuda", 1.0, None)
    _, _, (lost,) = scaled_steps("cuda", 1e-7, None)
    _, _, (kept,) = scaled_steps("cuda", 1e-7, LossScale())
    name = next(name for name in before if name.startswith("stem") and before[name].ndim == 4)
    np.testing.assert_array_equal(lost[name], before[name])
    change = kept[name] - before[name]
    for other, bound in ((large, 2e-2), (exact, 0.1)):
        expected = other[name] - before[name]
        assert np.abs(change - expected).max() <= bound * np.abs(expected).max()


def test_the_scale_is_kept_in_checkpoints(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4, 3, 10, 10), dtype=np.uint8), rng.integers(0, 10, 4)
    trainers = [nc.Trainer(Residual(), device="cuda", precision="fp16") for _ in range(2)]
    first, second = ((t.model, t.optimizer, t.loss_scale) for t in trainers)
    assert first[2] is not None and second[2] is not None
    trainers[0].step(images, labels)
    checkpoint.save_checkpoint(tmp_path / "c", *first[:2], trainers[0].state, {}, {}, scale=first[2])
    read = tensorfile.read(tmp_path / "c")
    checkpoint.restore_checkpoint(tmp_path / "c", read, *second[:2], {}, scale=second[2])
    assert second[2].arrays == first[2].arrays and second[2].arrays["good_steps"] == 1.0
    assert nc.Trainer(Residual(), device="cuda", precision="bf16").loss_scale is None


def test_a_shortcut_is_added_by_the_convolution() -> None:
    """With its normalisation folded into the filter and the activation behind the sum: one launch a convolution."""
    model = Residual().eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 10, 10)).astype(np.float32)
    graph = Graph()
    graph.output(model(graph.input(x.shape, x.dtype)))
    executable = compile_graph(graph, freeze=True, device="cuda")
    (found,) = executable.run([x])
    assert_close(nc.to_host(found), model(x), 100)
    added = [step for step in executable.plan.steps if dict(step.kernel.constants).get("addend")]
    assert [dict(step.kernel.constants)["activation"] for step in added] == ["relu", "relu"]
    phases = executable.plan.phases[executable.plan.prepared :]
    labels = [step.label for phase in phases for step in phase.steps]
    assert labels == ["reorder"] + ["conv"] * 6 + ["avg_pool", "reshape", "linear"]


def test_infinity_stays_infinity_in_tf32() -> None:
    x, weight = np.ones((2, 4), np.float32), np.ones((3, 4), np.float32)
    x[1, 2] = np.inf
    y = nc.compile(F.linear, device="cuda", precision="tf32")(x, weight)
    np.testing.assert_array_equal(nc.to_host(y), [[4.0] * 3, [np.inf] * 3])


def test_precisions_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="precision must be one of fp32, tf32, bf16, fp16, not 'int8'"):
        nc.compile(F.relu, device="cuda", precision="int8")(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match='precision \'bf16\' needs device "cuda"'):
        nc.Trainer(Residual(), precision="bf16")


# ------------------------------------------------------------------------------------------------ arrays and memory


def test_results_stay_on_the_device_and_arguments_may_be_there(gpu: EmulatedGpu) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    double = nc.compile(lambda x: x * 2.0, device="cuda")
    there = double(nc.to_device(x))
    uploads = gpu.uploads
    again = double(there)  # nothing goes through the host
    assert gpu.uploads == uploads and gpu.downloads == 0
    np.testing.assert_array_equal(np.asarray(again), 4 * x)
    facts = again.__cuda_array_interface__
    assert facts["shape"] == (2, 3) and facts["typestr"] == "<f4" and facts["data"] == (again.address, False)

    class Foreign:
        __cuda_array_interface__ = facts

    assert nc.to_device(Foreign()).address == again.address
    np.testing.assert_array_equal(nc.to_host(double(Foreign())), 8 * x)


def test_the_middle_of_another_librarys_array_is_copied() -> None:
    whole = nc.to_device(np.arange(9, dtype=np.float32))

    class Foreign:
        __cuda_array_interface__ = {**whole.__cuda_array_interface__, "shape": (8,), "data": (whole.address + 4, False)}

    copy = nc.to_device(Foreign())
    assert copy.address % 16 == 0
    np.testing.assert_array_equal(nc.to_host(copy), np.arange(1, 9))


def test_dlpack_out_and_in_without_a_copy() -> None:
    held = nc.to_device(np.arange(6, dtype=np.float32).reshape(2, 3))
    before = dict(dlpack._lent)

    class Foreign:
        __dlpack_device__ = held.__dlpack_device__
        __dlpack__ = held.__dlpack__

    taken = nc.to_device(Foreign())
    assert (taken.address, taken.shape, taken.dtype) == (held.address, held.shape, held.dtype)
    assert len(dlpack._lent) == len(before) + 1
    np.testing.assert_array_equal(nc.to_host(taken), nc.to_host(held))
    del taken
    assert dlpack._lent == before  # given back
    capsule = held.__dlpack__()
    del capsule  # never taken
    assert dlpack._lent == before
    capsule = held.__dlpack__()
    dlpack.Taken(capsule)
    with pytest.raises(ValueError, match="was taken before"):
        dlpack.Taken(capsule)


def test_an_array_that_is_not_contiguous_is_refused() -> None:
    class Foreign:
        __cuda_array_interface__ = {
            "shape": (2, 3), "typestr": "<f4", "data": (4096, False), "strides": (4, 8), "version": 3,
        }  # fmt: skip

    with pytest.raises(ValueError, match="contiguous, in C order"):
        nc.to_device(Foreign())


def test_variables_stay_on_the_device_until_they_are_asked_for(gpu: EmulatedGpu) -> None:
    count, graph = nc.Variable(np.zeros(3, np.float32)), Graph()
    leaf = graph.leaf(count)
    graph.update(leaf, leaf + 1.0)
    executable = compile_graph(graph, device="cuda")
    for _ in range(3):
        executable.run()
    assert gpu.downloads == 0
    held = count.data
    np.testing.assert_array_equal(held, [3, 3, 3])
    held[:] = 10.0  # what the host writes counts
    executable.run()
    np.testing.assert_array_equal(count.data, [11, 11, 11])
    assert count.data is held


def test_frozen_values_are_those_of_the_first_run() -> None:
    weight = nc.Variable(np.full((2, 2), 3.0, np.float32))
    frozen = nc.compile(lambda x: F.relu(x * weight), freeze=True, device="cuda")
    x = np.ones((2, 2), np.float32)
    assert nc.to_host(frozen(x)).sum() == 12.0
    weight.data[:] = 0.0
    assert nc.to_host(frozen(2 * x)).sum() == 24.0


def test_an_operator_without_a_kernel_says_so() -> None:
    class OnCpusAlone(Operator):
        def shape(self, x: Spec) -> Spec:
            return x

    row = operator(OnCpusAlone)
    try:
        CPU.lowerings.register(row.name, inputs=(BATCH,))(lambda *_: None)
        run = nc.compile(lambda x: apply(row, (x,), {}), device="cuda")
        with pytest.raises(NotImplementedError, match=r'has no CUDA kernel yet; run it on the CPU \(device="cpu"\)'):
            run(np.zeros((1, 4, 2, 2), np.float32))
    finally:
        del CPU.lowerings[row.name], OPERATORS[row.name]


def test_float64_is_for_the_cpu() -> None:
    with pytest.raises(TypeError, match="the CUDA engine calculates in float32"):
        nc.compile(F.relu, device="cuda")(np.zeros(100))


@pytest.mark.parametrize("name", ["gpu", "", "CUDA"])
def test_a_device_that_does_not_exist(name: str) -> None:
    with pytest.raises(ValueError, match="device must be one of cpu, cuda"):
        nc.compile(F.relu, device=name)(np.zeros(1, np.float32))


# ------------------------------------------------------------------------------------------------ fitting


def fitted(where: str, average: float = 0.0) -> tuple[nc.Trainer, Any]:
    rng = np.random.default_rng(2)
    images, labels = rng.integers(0, 256, (22, 1, 8, 8), dtype=np.uint8), rng.integers(0, 3, 22)
    nc.manual_seed(0)
    model = nc.nn.Sequential(nc.nn.Flatten(), nc.nn.Linear(64, 8), nc.nn.Tanh(), nc.nn.Linear(8, 3))
    trainer = nc.Trainer(model, batch_size=8, device=where, optimizer=nc.optim.Adam(lr=0.01), average=average)
    return trainer, trainer.fit((images, labels), (images, labels), epochs=2)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_fit_on_the_device_is_that_of_the_cpu(gpu: EmulatedGpu, average: float) -> None:
    ours, found = fitted("cuda", average)
    theirs, expected = fitted("cpu", average)
    for a, b in zip(found, expected, strict=True):
        assert (a.step, a.train_accuracy, a.validation_accuracy) == (b.step, b.train_accuracy, b.validation_accuracy)
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-5)
        assert a.validation_loss == pytest.approx(b.validation_loss, rel=1e-5)
    np.testing.assert_array_equal(ours.validation["confusion"], theirs.validation["confusion"])


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_nothing_is_waited_for_within_an_epoch(gpu: EmulatedGpu, average: float) -> None:
    rng = np.random.default_rng(2)
    arrays = nc.training.inputs.Arrays(rng.integers(0, 256, (16, 1, 4, 4), dtype=np.uint8), rng.integers(0, 3, 16))
    model = nc.nn.Sequential(nc.nn.Flatten(), nc.nn.Linear(16, 3))
    trainer = nc.Trainer(model, batch_size=4, device="cuda", average=average)
    step = trainer.train_step(arrays, 4)
    results = [trainer.advance(step, arrays, np.arange(4) + i) for i in range(5)]
    assert gpu.downloads == 0
    assert all(np.isfinite(float(loss)) for loss, _ in results)
