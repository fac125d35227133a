"""Modules: registration, state, initial values, and running on arrays. Layers' arithmetic is tested by operator."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import numbaconv.functional as F
from numbaconv import models, nn, random
from numbaconv.graph import Graph
from numbaconv.nn import eager, init

rng = np.random.default_rng(0)


class Block(nn.Module):
    """A module with a parameter, a buffer and two children."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.count = nn.Buffer(np.zeros(1, np.float32))
        self.first = nn.Linear(4, 3)
        self.last = nn.Linear(3, 2, bias=False)

    def forward(self, x: Any) -> Any:
        return self.last(F.tanh(self.first(x)))


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.data.size for parameter in module.parameters())


# -- registration -----------------------------------------------------------------------------------------------------


def test_attributes_are_registered_under_dotted_names() -> None:
    model = nn.Sequential(OrderedDict(block=Block()))
    names = ["block.scale", "block.first.weight", "block.first.bias", "block.last.weight"]
    assert [name for name, _ in model.named_parameters()] == names
    assert [name for name, _ in model.named_buffers()] == ["block.count"]
    assert [name for name, _ in model.named_modules()] == ["", "block", "block.first", "block.last"]
    assert [name for name, _ in model.named_children()] == ["block"]
    assert list(model.state_dict()) == ["block.scale", "block.count", *names[1:]]


def test_an_attribute_can_be_replaced_deleted_or_none() -> None:
    block = Block()
    block.first = nn.Identity()
    assert [name for name, _ in block.named_parameters()] == ["scale", "last.weight"]
    block.scale = None
    assert block.scale is None and "scale" not in block.state_dict()
    del block.last
    assert [type(module) for module in block.children()] == [nn.Identity]
    with pytest.raises(AttributeError, match="'Block' object has no attribute 'last'"):
        _ = block.last


def test_a_frozen_parameter_stays_a_parameter() -> None:
    layer = nn.Linear(2, 2)
    weight = layer.weight
    weight.trainable = False
    layer.weight = weight
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def test_registering_refuses_what_cannot_be() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Tanh()

    with pytest.raises(AttributeError, match="call super"):
        Early()
    with pytest.raises(TypeError, match="cannot assign int as 'weight'"):
        nn.Linear(2, 2).weight = 3
    with pytest.raises(TypeError, match="must be a Module, got int"):
        nn.Sequential(3)
    for name in ("", "a.b", "forward"):
        with pytest.raises(KeyError):
            nn.Sequential().add_module(name, nn.Tanh())
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()(np.zeros(1, np.float32))


def test_a_shared_parameter_is_trained_once_and_saved_by_each_name() -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, layer)
    assert len(list(model.parameters())) == 2
    assert len(list(model.modules())) == 2
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_train_eval_and_apply_reach_all_modules() -> None:
    model = nn.Sequential(Block(), nn.Dropout())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.train().modules())
    seen: list[str] = []
    model.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "Linear", "Block", "Dropout", "Sequential"]


def test_a_deep_copy_is_independent() -> None:
    model = models.lenet5()
    twin = copy.deepcopy(model)
    twin.conv1.bias.data[...] = 7
    assert not np.array_equal(model.conv1.bias.data, twin.conv1.bias.data)
    assert models.recipe_of(twin) == models.recipe_of(model)


# -- state ------------------------------------------------------------------------------------------------------------


def test_state_dict_copies_and_loads_in_place() -> None:
    source, target = nn.Linear(4, 3, generator=1), nn.Linear(4, 3, generator=2)
    array = target.weight.data
    state = source.state_dict()
    assert target.load_state_dict(state) == ([], [])
    assert target.weight.data is array
    np.testing.assert_array_equal(array, source.weight.data)
    state["weight"][...] = 0
    assert source.weight.data.any()


def test_load_state_dict_converts_floats_of_another_size() -> None:
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[0.1, 0.2]]), "bias": np.array([0.3], np.float16)})
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.data, np.array([[0.1, 0.2]], np.float32))


def test_load_state_dict_names_every_fault_and_changes_nothing() -> None:
    layer = nn.Linear(4, 3)
    before = layer.state_dict()
    with pytest.raises(ValueError) as caught:
        layer.load_state_dict({"weight": np.zeros((3, 5), np.float32), "extra": np.zeros(1)})
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Linear:\n"
        '\tUnexpected key(s) in state_dict: "extra".\n'
        '\tMissing key(s) in state_dict: "bias".\n'
        "\tsize mismatch for weight: copying a param with shape (3, 5) from the state_dict, "
        "the shape in current model is (3, 4)."
    )
    with pytest.raises(ValueError, match="dtype mismatch for bias: complex128"):
        layer.load_state_dict({"weight": np.ones((3, 4)), "bias": np.zeros(3, complex)})
    with pytest.raises(TypeError, match="got list"):
        layer.load_state_dict([1])  # type: ignore[arg-type]
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_load_state_dict_may_be_lenient() -> None:
    layer = nn.Linear(2, 2)
    result = layer.load_state_dict({"bias": np.ones(2), "other": np.ones(1)}, strict=False)
    assert result.missing_keys == ["weight"] and result.unexpected_keys == ["other"]
    np.testing.assert_array_equal(layer.bias.data, 1)


# -- layers -----------------------------------------------------------------------------------------------------------


def test_repr_is_as_in_pytorch() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2, bias=False), nn.Sequential(nn.Tanh(), nn.MaxPool2d(2)), nn.Linear(3, 2)
    )
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2), bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): Tanh()\n"
        "    (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)\n"
        "  )\n"
        "  (2): Linear(in_features=3, out_features=2, bias=True)\n"
        ")"
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Conv2d(0, 4, 3), "Conv2d: in_channels must be at least 1, got 0"),
        (lambda: nn.Conv2d(1, 4, (3, 3, 3)), "Conv2d: kernel_size must be one number or 2"),
        (lambda: nn.Conv2d(1, 4, 3, stride=0), "Conv2d: stride must be at least 1, got 0"),
        (lambda: nn.Conv2d(1, 4, 3, padding=-1), "Conv2d: padding must be at least 0, got -1"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), r"Conv2d: in_channels \(3\) must be divisible by groups \(2\)"),
        (lambda: nn.Conv1d(1, 4, 2.5), "Conv1d: kernel_size must be a whole number, got 2.5"),
        (lambda: nn.Linear(4, "3"), "Linear: out_features must be a whole number, got '3'"),
        (lambda: nn.Dropout(1.5), "Dropout: p must lie between 0 and 1, got 1.5"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), "AvgPool2d: divisor_override must be at least 1"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), "CrossEntropyLoss: label_smoothing must lie"),
        (lambda: nn.Linear(2, 2, generator=-1), "seed must be a whole number of 0 or more, got -1"),
        (lambda: models.build("lenet"), "there is no model 'lenet': did you mean 'lenet5'"),
        (lambda: models.build("lenet5", classes=3), "takes no argument 'classes', only num_classes"),
    ],
)
def test_arguments_are_checked_in_the_callers_terms(build: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        build()


def test_weights_have_pytorchs_shapes() -> None:
    assert nn.Conv1d(4, 6, 3, groups=2).weight.shape == (6, 2, 3)
    assert nn.Conv2d(4, 6, (3, 5)).weight.shape == (6, 4, 3, 5)
    assert nn.Conv3d(1, 2, 3).weight.shape == (2, 1, 3, 3, 3)
    assert nn.Linear(5, 2, dtype=np.float64).bias.dtype == np.float64


def test_the_counts_of_the_lecture() -> None:
    assert count_parameters(nn.Linear(512 * 512, 64)) == 16_777_280
    assert count_parameters(nn.Conv2d(1, 64, 7)) == 3_200
    assert count_parameters(models.lenet5()) == 61_706


def test_sequential_is_a_list_of_named_modules() -> None:
    layers = [nn.Tanh(), nn.ReLU(), nn.Sigmoid()]
    model = nn.Sequential(*layers)
    assert len(model) == 3 and list(model) == layers
    assert model[0] is layers[0] and model[-1] is layers[2]
    tail = model[1:]
    assert isinstance(tail, nn.Sequential) and list(tail) == layers[1:]
    tail.append(nn.Identity())
    assert [name for name, _ in tail.named_children()] == ["1", "2", "3"]
    model[1] = nn.Flatten()
    assert [type(module) for module in model] == [nn.Tanh, nn.Flatten, nn.Sigmoid]
    with pytest.raises(IndexError, match="index 3 is out of range for 3 modules"):
        _ = model[3]


# -- initial values ---------------------------------------------------------------------------------------------------


def test_initial_values_follow_from_the_seed() -> None:
    first, same, other = (models.lenet5(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first)
    random.manual_seed(5)
    one = nn.Linear(3, 3), nn.Linear(3, 3)
    random.manual_seed(5)
    two = nn.Linear(3, 3), nn.Linear(3, 3)
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left.weight.data, right.weight.data)
    assert not np.array_equal(one[0].weight.data, one[1].weight.data)


def test_initial_values_are_spread_as_in_pytorch() -> None:
    layer = nn.Conv2d(8, 64, 5)
    bound = 1 / np.sqrt(8 * 5 * 5)
    for variable in (layer.weight, layer.bias):
        assert np.abs(variable.data).max() <= bound
        assert np.abs(variable.data).max() > 0.9 * bound
    np.testing.assert_allclose(layer.weight.data.std(), bound / np.sqrt(3), rtol=0.05)
    with pytest.raises(ValueError, match="no fan-in"):
        init.kaiming_uniform_(layer.bias)


# -- running ----------------------------------------------------------------------------------------------------------


def test_a_module_runs_on_arrays_as_its_functions_do() -> None:
    model = Block()
    x = rng.standard_normal((5, 4)).astype(np.float32)
    expected = np.tanh(x @ model.first.weight.data.T + model.first.bias.data) @ model.last.weight.data.T
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    # Another shape, and the first one again: the plan is replayed on new values.
    np.testing.assert_allclose(model(x[:2]), expected[:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(x[::-1]), expected[::-1], rtol=1e-5, atol=1e-6)


def test_a_module_inside_a_trace_appends_to_it() -> None:
    output = Block()(Graph().input((5, 4), np.dtype(np.float32)))
    assert output.shape == (5, 2)


def test_new_weights_and_new_attributes_show_at_the_next_call() -> None:
    layer = nn.Linear(2, 2)
    x = np.ones((1, 2), np.float32)
    layer(x)
    layer.load_state_dict({"weight": np.eye(2), "bias": np.array([1.0, 2.0])})
    np.testing.assert_allclose(layer(x), [[2, 3]])
    layer.bias = None
    np.testing.assert_allclose(layer(x), [[1, 1]])
    layer.weight = nn.Parameter(np.full((2, 2), 3.0, np.float32))
    np.testing.assert_allclose(layer(x), [[6, 6]])


def test_plans_are_kept_while_nothing_changes() -> None:
    layer = nn.Linear(2, 2).eval()
    before = eager.structure()
    layer(np.ones((1, 2), np.float32))
    layer.eval()
    layer.load_state_dict(layer.state_dict())
    assert eager.structure() == before
    for rows in range(1, 20):
        layer(np.ones((rows, 2), np.float32))
    assert len(eager._plans[layer]) <= 8


def test_forward_may_return_several_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return F.tanh(x), F.relu(y)

    x = rng.standard_normal((2, 3)).astype(np.float32)
    tanh, relu = Two()(x, x)
    np.testing.assert_allclose(tanh, np.tanh(x), rtol=1e-5)
    np.testing.assert_array_equal(relu, np.maximum(x, 0))


def test_running_refuses_what_is_no_array() -> None:
    class Constant(nn.Module):
        def forward(self, x: Any) -> Any:
            return 3

    with pytest.raises(TypeError, match="Tanh: expected NumPy arrays, got list"):
        nn.Tanh()([1.0])
    with pytest.raises(TypeError, match=r"Constant: forward\(\) must return tensors made from its inputs, got int"):
        Constant()(np.ones(1, np.float32))


def test_lenet_gives_one_logit_a_class() -> None:
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    assert models.lenet5(num_classes=7, in_channels=3)(x).shape == (2, 7)
    assert {"lenet5", "mobilenet", "resnet20", "resnet50", "vgg16"} <= set(models.names())
    names = list(models.build("lenet5").state_dict())
    assert names == [
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2", "fc3") for kind in ("weight", "bias")
    ]


def test_dropout_and_identity_pass_everything_on_in_evaluation() -> None:
    x = rng.standard_normal((4, 4)).astype(np.float32)
    np.testing.assert_array_equal(nn.Dropout(0.9).eval()(x), x)
    np.testing.assert_array_equal(nn.Identity(3, a=4)(x), x)


def test_dropout_draws_anew_at_every_call_and_follows_the_seed() -> None:
    layer, x = nn.Dropout(0.25), np.ones((100, 100), np.float32)
    random.manual_seed(1)
    first, second = layer(x), layer(x)
    random.manual_seed(1)
    again = layer(x)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    assert np.mean(first == 0) == pytest.approx(0.25, abs=0.02)
