"""Losses beside PyTorch: weights, ignored samples, soft targets, reductions and edges."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer import assert_agrees, torch_function
from reference import REFERENCES, assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import nn
from numbaconv.kernels.cpu.target import LANES


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def agrees(name: str, arguments: dict[str, Any], **fixed: Any) -> None:
    """As ``assert_agrees``, with ``fixed`` arguments, among them weights, that are not differentiated."""
    torch = pytest.importorskip("torch")
    fixed = {key: value for key, value in fixed.items() if value is not None}
    x, target = arguments["x"], arguments["target"]
    y, pullback = nc.vjp(lambda x: getattr(F, name)(x, target, **fixed), x)
    t = torch.tensor(x, requires_grad=True)
    tensors = {key: torch.tensor(value) if isinstance(value, np.ndarray) else value for key, value in fixed.items()}
    wanted = torch_function(name)(t, torch.tensor(target), **tensors)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol=1e-11, atol=1e-12, equal_nan=True)
    grad = np.random.default_rng(9).standard_normal(y.shape)
    wanted.backward(torch.tensor(grad))
    np.testing.assert_allclose(pullback(grad)[0], t.grad.numpy(), rtol=1e-10, atol=1e-11, equal_nan=True)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_classes(name: str) -> None:
    @settings(max_examples=25)
    @given(
        batch=st.sampled_from([1, 3, LANES, LANES + 1]),
        pixels=st.lists(st.integers(1, 3), max_size=2),
        weighted=st.booleans(),
        ignore=st.sampled_from([None, -100, 1]),
        smoothing=st.sampled_from([0.0, 0.2]),
        reduction=REDUCTIONS,
        seed=st.integers(0, 9),
    )
    def check(batch, pixels, weighted, ignore, smoothing, reduction, seed) -> None:
        rng = np.random.default_rng(seed)
        x, target = rng.standard_normal((batch, 4, *pixels)), rng.integers(0, 4, (batch, *pixels))
        target.ravel()[0] = -100 if ignore is None else ignore
        fixed = {"weight": rng.random(4) + 0.1 if weighted else None, "ignore_index": ignore, "reduction": reduction}
        if name == "cross_entropy":
            fixed["label_smoothing"] = smoothing
        agrees(name, {"x": x, "target": target}, **fixed)

    check()


def test_probabilities_as_targets() -> None:
    for shape in ((5, 4), (LANES + 1, 4, 3)):
        target = np.abs(normal(*shape, seed=1))
        for reduction in ("mean", "sum", "none"):
            for weight in (None, np.array([1.0, 2.0, 0.5, 3.0])):
                arguments = {"x": normal(*shape), "target": target}
                agrees("cross_entropy", arguments, weight=weight, label_smoothing=0.1, reduction=reduction)


def test_one_sample_without_a_batch() -> None:
    x = normal(5)
    agrees("cross_entropy", {"x": x, "target": np.array(3)})
    agrees("nll_loss", {"x": x, "target": np.array(3)}, reduction="none")
    agrees("cross_entropy", {"x": x, "target": np.abs(normal(5, seed=1))})


def test_labels_of_a_trace() -> None:
    """With ``ignore_index`` the mean is over the samples that count; labels are known only when the plan runs."""
    x, target = normal(LANES + 1, 3), np.arange(LANES + 1) % 3
    mean = nc.compile(lambda x, t: F.cross_entropy(x, t, ignore_index=2))
    assert_close(mean(x, target), REFERENCES["cross_entropy"].function(x, target, ignore_index=2), 20)
    whole = nc.compile(F.cross_entropy)
    assert_close(whole(x, target), REFERENCES["cross_entropy"].function(x, target), 20)
    none_left = F.cross_entropy(x, np.full(LANES + 1, -100))
    assert np.isnan(none_left)
    assert F.cross_entropy(x, np.full(LANES + 1, -100), reduction="sum") == 0.0


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"])
def test_differences(name: str) -> None:
    theirs = torch_function(name)

    @settings(max_examples=10)
    @given(batch=st.sampled_from([1, LANES + 1]), rank=st.integers(1, 3), reduction=REDUCTIONS, width=st.floats(0.1, 2))
    def check(batch: int, rank: int, reduction: str, width: float) -> None:
        shape = (batch, 3, 2)[:rank]
        options = {"huber_loss": {"delta": width}, "smooth_l1_loss": {"beta": width}}.get(name, {})
        arguments = {"x": normal(*shape), "target": normal(*shape, seed=1), "reduction": reduction, **options}
        assert_agrees(name, arguments, lambda x, target, **rest: theirs(x, target, **rest))

    check()


def test_smooth_l1_without_a_width_is_l1() -> None:
    x, y = normal(4, 3), normal(4, 3, seed=1)
    assert F.smooth_l1_loss(x, y, beta=0) == F.l1_loss(x, y)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_binary(reduction: str) -> None:
    weights: list[Any] = [None, np.array([0.5, 2.0, 3.0])]
    with_logits, plain = torch_function("binary_cross_entropy_with_logits"), torch_function("binary_cross_entropy")
    for weight in weights:
        x, target = normal(LANES + 1, 3), np.random.default_rng(1).random((LANES + 1, 3))
        fixed = {"weight": weight, "reduction": reduction}
        agrees("binary_cross_entropy_with_logits", {"x": x, "target": target}, pos_weight=weight, **fixed)
        agrees("binary_cross_entropy", {"x": 1 / (1 + np.exp(-x)), "target": target}, **fixed)
    arguments = {"x": x, "target": target, "reduction": reduction}
    assert_agrees("binary_cross_entropy_with_logits", arguments, lambda x, target, **r: with_logits(x, target, **r))
    arguments["x"] = 1 / (1 + np.exp(-x))
    assert_agrees("binary_cross_entropy", arguments, lambda x, target, **r: plain(x, target, **r))


def test_binary_edges() -> None:
    """Certain and wrong, certain and right; large logits do not overflow, and round by no more than they are."""
    for dtype in (np.float32, np.float64):
        p, t = np.array([[0.0, 1.0, 0.0, 1.0]], dtype), np.array([[0.0, 1.0, 1.0, 0.0]], dtype)
        assert_close(F.binary_cross_entropy(p, t, reduction="none"), [[0.0, 0.0, 100.0, 100.0]])
        x = np.array([[1e4, -1e4, 50.0, -50.0]], dtype)
        found = F.binary_cross_entropy_with_logits(x, t[:, [1, 0, 1, 0]], reduction="none")
        assert found[0, :2].max() == 0.0
        np.testing.assert_allclose(found[0, 2:], np.exp(-50.0), rtol=1e-6, atol=50 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(F.kl_div(p, 0 * p, reduction="none"), 0 * p)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_kl_div() -> None:
    theirs = torch_function("kl_div")
    target = np.abs(normal(LANES + 1, 3, seed=1)) + 0.1
    for reduction in ("mean", "batchmean", "sum", "none"):
        for log_target in (False, True):
            arguments = {"x": normal(LANES + 1, 3), "target": target, "reduction": reduction, "log_target": log_target}
            assert_agrees("kl_div", arguments, lambda x, target, **rest: theirs(x, target, **rest))


def test_layers_are_the_functions() -> None:
    x, target = normal(4, 3).astype(np.float32), np.abs(normal(4, 3, seed=1)).astype(np.float32) % 1
    labels, weight = np.array([0, 2, 1, 2]), np.array([1.0, 2.0, 3.0], np.float32)
    for layer, function, options in (
        (nn.MSELoss, F.mse_loss, {}), (nn.L1Loss, F.l1_loss, {}), (nn.HuberLoss, F.huber_loss, {"delta": 0.5}),
        (nn.SmoothL1Loss, F.smooth_l1_loss, {"beta": 0.5}), (nn.KLDivLoss, F.kl_div, {"reduction": "batchmean"}),
        (nn.BCELoss, F.binary_cross_entropy, {"reduction": "sum"}),
        (nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits, {"pos_weight": weight}),
    ):  # fmt: skip
        first = target if layer is nn.BCELoss else x
        assert_close(layer(**options)(first, target), function(first, target, **options), 12)
    assert_close(nn.CrossEntropyLoss(weight, label_smoothing=0.1)(x, labels),
                 F.cross_entropy(x, labels, weight, label_smoothing=0.1), 12)  # fmt: skip
    assert_close(nn.NLLLoss(weight)(x, labels), F.nll_loss(x, labels, weight), 12)
    assert list(nn.CrossEntropyLoss(weight).state_dict()) == ["weight"]


A, B = np.zeros((2, 3)), np.zeros((3, 2))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: F.mse_loss(A, B), ValueError, r"^mse_loss: x has shape \(2, 3\), target \(3, 2\)$"),
        (lambda: F.l1_loss(A, A, "avg"), ValueError, '^l1_loss: reduction must be "mean", "sum" or "none", not'),
        (lambda: F.huber_loss(A, A, delta=0), ValueError, "^huber_loss: delta must be above 0, not 0$"),
        (lambda: F.smooth_l1_loss(A, A, beta=-1), ValueError, "^smooth_l1_loss: beta must be at least 0, not -1"),
        (lambda: F.kl_div(A, A, "avg"), ValueError, '^kl_div: reduction must be "mean", "batchmean", "sum" or "none"'),
        (lambda: F.cross_entropy(A, [0, 1], np.ones(2)), ValueError, r"^cross_entropy: weight must have shape \(3,\)"),
        (lambda: F.cross_entropy(A, A, ignore_index=1), ValueError, "^cross_entropy: ignore_index is for targets"),
        (lambda: F.nll_loss(A, [0, 3]), ValueError, "^nll_loss: target 3 is not one of the 3 classes"),
        (lambda: F.nll_loss(A, [0, 1], ignore_index=0.5), TypeError, "^nll_loss: ignore_index must be an integer"),
        (lambda: F.binary_cross_entropy(A, A, np.ones(4)), ValueError, "^binary_cross_entropy: shapes"),
        (lambda: nn.MSELoss("avg"), ValueError, "^MSELoss: reduction must be one of mean, sum, none, got 'avg'$"),
    ],
)
def test_wrong_arguments(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
