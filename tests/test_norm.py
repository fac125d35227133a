"""Batch normalisation as a layer, and the residual network made with it."""

import numpy as np
import pytest
from reference import assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import nn
from numbaconv.graph import Spec
from numbaconv.training.step import EvalStep, TrainStep


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_running_statistics_move_as_pytorch_counts_them() -> None:
    layer = nn.BatchNorm2d(3, momentum=0.2)
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = 2 + 3 * random(5, 3, 4, 2, seed=seed)
        layer(x)
        mean = 0.8 * mean + 0.2 * x.mean((0, 2, 3))
        var = 0.8 * var + 0.2 * x.var((0, 2, 3), ddof=1)
    assert_close(layer.running_mean.data, mean, 40)
    assert_close(layer.running_var.data, var, 40)
    layer.eval()
    x = random(2, 3, 4, 2)
    expected = (x - mean.reshape(3, 1, 1)) / np.sqrt(var.reshape(3, 1, 1) + 1e-5)
    assert_close(layer(x), expected, 40)
    assert_close(layer.running_mean.data, mean, 40)  # evaluation changes nothing


def test_statistics_do_not_cancel_far_from_zero() -> None:
    x = 1e4 + random(33, 2, 5, 5)
    y = F.batch_norm(x, None, None, training=True)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean((0, 2, 3), keepdims=True)) / exact.std((0, 2, 3), keepdims=True)
    assert abs(y - expected).max() < 2e-3  # the input itself is only known to 1e-3 of its deviation


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: F.batch_norm(random(2, 3), None, None), "running_mean and running_var are needed outside training"),
        (lambda: F.batch_norm(random(1, 3), None, None, training=True), "more than one value a channel"),
        (lambda: F.batch_norm(random(4, 3), random(2), random(3)), r"running_mean must have shape \(3,\)"),
        (lambda: F.batch_norm(random(4), None, None, training=True), "at least 2 dimensions"),
        (lambda: nn.BatchNorm2d(3)(random(4, 3)), "x must have 4 dimensions"),
        (lambda: nn.BatchNorm2d(0), "num_features"),
    ],
)
def test_wrong_arguments(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("momentum", [0.2, None])
def test_state_is_pytorchs(momentum: float | None) -> None:
    """Running statistics, batches counted, and names, also with averages over all batches."""
    torch = pytest.importorskip("torch")
    pairs = (
        (nn.BatchNorm2d(3, momentum=momentum), torch.nn.BatchNorm2d(3, momentum=momentum)),
        (nn.InstanceNorm2d(3, momentum=momentum, track_running_stats=True, affine=True),
         torch.nn.InstanceNorm2d(3, momentum=momentum, track_running_stats=True, affine=True)),
    )  # fmt: skip
    for ours, theirs in pairs:
        for seed in range(3):
            x = 2 + 3 * random(5, 3, 4, 2, seed=seed)
            assert_close(ours(x), theirs(torch.tensor(x)).detach().numpy(), 40)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert ours.num_batches_tracked.data.dtype == np.int64
        for name, value in ours.state_dict().items():
            assert_close(value, theirs.state_dict()[name].numpy(), 40)
        assert_close(ours.eval()(x), theirs.eval()(torch.tensor(x)).detach().numpy(), 40)


def test_states_of_before_batches_were_counted_still_load() -> None:
    layer = nn.BatchNorm2d(3)
    state = {name: value + 1 for name, value in layer.state_dict().items() if name != "num_batches_tracked"}
    assert layer.load_state_dict(state) == ([], [])
    np.testing.assert_array_equal(layer.running_mean.data, np.ones(3))


def test_layers_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for ours, theirs, shape in (
        (nn.LayerNorm((4, 5)), torch.nn.LayerNorm((4, 5)), (3, 4, 5)),
        (nn.LayerNorm(5, bias=False), torch.nn.LayerNorm(5, bias=False), (3, 4, 5)),
        (nn.GroupNorm(2, 6), torch.nn.GroupNorm(2, 6), (3, 6, 5, 2)),
        (nn.InstanceNorm1d(4), torch.nn.InstanceNorm1d(4), (4, 7)),  # without a batch
        (nn.LocalResponseNorm(4, 0.3, 0.5, 2.0), torch.nn.LocalResponseNorm(4, 0.3, 0.5, 2.0), (3, 6, 5)),
    ):
        x = 2 + random(*shape)
        assert_close(ours(x), theirs(torch.tensor(x)).detach().numpy(), 60)
        assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_far_from_zero_and_of_one_number(dtype) -> None:
    x = (1e4 + random(3, 2, 40)).astype(dtype)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean(2, keepdims=True)) / np.sqrt(exact.var(2, keepdims=True) + 1e-5)
    assert np.abs(F.instance_norm(x) - expected).max() < (2e-3 if dtype == np.float32 else 1e-9)
    np.testing.assert_array_equal(F.layer_norm(np.full((2, 5), 7.0, dtype), 5), np.zeros((2, 5), dtype))
    assert F.layer_norm(np.zeros((0, 5), dtype), 5).shape == (0, 5)
    assert np.isnan(F.layer_norm(np.array([[1.0, np.nan]], dtype), 2)).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: F.layer_norm(random(3, 4), (3,)), r"^layer_norm: x must end with the dimensions \(3,\)"),
        (lambda: F.layer_norm(random(3, 4), 4, random(3)), r"^layer_norm: weight must have shape \(4,\)"),
        (lambda: F.group_norm(random(3, 4), 3), "^group_norm: 4 channels cannot be divided into 3 groups$"),
        (lambda: F.group_norm(random(1, 4), 4), "^group_norm: more than one value a group is needed"),
        (lambda: F.instance_norm(random(3, 4, 1)), "^instance_norm: more than one pixel is needed"),
        (lambda: F.instance_norm(random(3, 4, 5), use_input_stats=False), "running_mean and running_var are needed"),
        (lambda: F.local_response_norm(random(3, 4), 2), "^local_response_norm: x must have at least 3 dimensions"),
        (lambda: nn.GroupNorm(3, 4), "^GroupNorm: 4 channels cannot be divided into 3 groups$"),
        (lambda: nn.InstanceNorm2d(3)(random(3, 4)), "InstanceNorm2d: x must have 3 or 4 dimensions"),
    ],
)
def test_wrong_arguments_of_rows(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_resnet20_learns_a_batch() -> None:
    model = nc.models.resnet20(seed=1)
    images, labels = random(20, 3, 32, 32), np.arange(20) % 10
    specs = Spec(images.shape, images.dtype), Spec(labels.shape, labels.dtype)
    step = TrainStep(model, F.cross_entropy, nc.optim.SGD(lr=0.05, momentum=0.9), 20, *specs)
    losses = [step(images, labels, np.arange(20))[0] for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]
    assert abs(model.bn1.running_mean.data).max() > 0
    model.eval()
    evaluate = EvalStep(model, F.cross_entropy, 20, *specs)
    _, _, logits = evaluate(images, labels, np.arange(20))
    np.testing.assert_array_equal(logits, evaluate(images, labels, np.arange(20))[2])
