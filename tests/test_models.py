"""Ready networks: published sizes, torchvision's names, and the same numbers as PyTorch computes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import models, nn, optim
from numbaconv.graph import Graph, compile_graph, gradients
from numbaconv.models.lenet import C3_TABLE
from numbaconv.models.resnet import BasicBlock, Bottleneck, ResNet
from numbaconv.nn import init
from numbaconv.nn.summary import summarise

IMAGENET = {"num_classes": 1000, "image_size": 224}


def count(model: nn.Module) -> int:
    return sum(parameter.size for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "arguments", "parameters"),
    [
        # torchvision's networks, as its documentation counts them
        ("resnet18", {}, 11_689_512),
        ("resnet34", {}, 21_797_672),
        ("resnet50", {}, 25_557_032),
        ("resnet101", {}, 44_549_160),
        ("resnet152", {}, 60_192_808),
        # He et al., table 6, counts 0.27, 0.46, 0.66, 0.85 and 1.7 million; the shortcuts with weights are ours
        ("resnet20", {}, 272_474),
        ("resnet32", {}, 466_906),
        ("resnet44", {}, 661_338),
        ("resnet56", {}, 855_770),
        ("resnet110", {}, 1_730_714),
        ("vgg16", {}, 14_728_266),
        ("lenet5", {}, 61_706),
        ("lenet5_1998", {}, 60_000),  # LeCun et al., section II.B
        ("lenet5_1998", {"head": "linear"}, 60_850),
        ("nin", {}, 966_986),
        ("googlenet", {"auxiliary": False}, 6_998_552),
        ("googlenet", {"auxiliary": False, "form": "torchvision"}, 6_624_904),
        ("googlenet", {"form": "torchvision"}, 13_004_888),
        ("fastnet", {}, 1_972_768),
        ("mobilenet", {}, 3_217_226),
        ("mobilenet", IMAGENET, 4_231_976),  # Howard et al., table 8: 4.2 million
        ("mobilenet", {**IMAGENET, "width_multiplier": 0.25}, 470_072),  # and 0.5 million
    ],
)
def test_networks_have_the_published_sizes(name: str, arguments: dict[str, Any], parameters: int) -> None:
    assert count(models.build(name, **arguments)) == parameters


@pytest.mark.slow
def test_alexnet_has_the_published_size() -> None:
    assert count(models.alexnet()) == 61_100_840


def test_multiply_adds_are_the_published_ones() -> None:
    """Szegedy et al., section 5: 1.5 billion; He et al., table 1 and section 4.2."""
    for name, millions in (("googlenet", 1583), ("resnet18", 1814), ("resnet50", 4089), ("resnet20", 41)):
        summary = summarise(models.build(name).eval(), models.image_shape(name))
        assert round(summary.multiply_adds / 1e6) == millions, (name, summary.multiply_adds)


def test_the_auxiliary_classifiers_of_googlenet_are_where_the_paper_has_them() -> None:
    model = models.googlenet(5)
    scores = model(Graph().input((2, 3, 224, 224)))
    assert [score.shape for score in scores] == [(2, 5)] * 3
    pooled = [node.inputs[0].shape[1:] for node in scores[0].graph.nodes if node.op.name == "avg_pool"]
    assert pooled == [(512, 14, 14), (528, 14, 14), (1024, 7, 7)]
    assert model.eval()(Graph().input((2, 3, 224, 224))).shape == (2, 5)
    assert models.googlenet(5, auxiliary=False)(Graph().input((2, 3, 224, 224))).shape == (2, 5)
    with pytest.raises(ValueError, match="form must be 'paper' or 'torchvision'"):
        models.googlenet(form="keras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "batch_norm", "parameters"),
    [
        ("vgg11", True, 132_868_840),
        ("vgg19", True, 143_678_248),
        ("vgg11", False, 132_863_336),
        ("vgg13", False, 133_047_848),
        ("vgg16", False, 138_357_544),
        ("vgg16", True, 138_365_992),
        ("vgg19", False, 143_667_240),
    ],
)
def test_vgg_for_imagenet_has_the_published_size(name: str, batch_norm: bool, parameters: int) -> None:
    assert count(models.build(name, batch_norm=batch_norm, **IMAGENET)) == parameters


def test_names_are_torchvisions() -> None:
    assert {
        "conv1.weight", "bn1.running_var", "layer1.0.conv3.weight", "layer1.0.downsample.1.bias", "layer4.2.bn3.weight",
        "fc.bias",
    } <= set(models.resnet50().state_dict())  # fmt: skip
    assert {"layer2.0.downsample.0.weight", "layer3.2.bn2.bias"} <= set(models.resnet20().state_dict())
    assert {"features.0.weight", "features.1.running_mean", "features.41.bias", "classifier.0.weight"} <= set(
        models.vgg16().state_dict()
    )
    assert {
        "conv1.conv.weight", "inception3a.branch1.conv.bias", "inception4e.branch3.1.conv.weight",
        "inception5b.branch4.1.conv.weight", "aux2.fc1.weight", "aux1.conv.conv.weight", "fc.bias",
    } <= set(models.googlenet().state_dict())  # fmt: skip
    assert {"features.0.weight", "features.10.bias", "classifier.6.weight"} <= set(
        models.alexnet(hidden=1).state_dict()
    )
    assert {"features.0.0.weight", "features.13.4.running_var", "classifier.bias"} <= set(
        models.mobilenet(width_multiplier=0.1).state_dict()
    )


def test_strides_are_where_torchvision_has_them() -> None:
    first = models.resnet50().layer2[0]
    assert [conv.stride for conv in (first.conv1, first.conv2, first.conv3)] == [(1, 1), (2, 2), (1, 1)]


def test_every_network_says_what_images_it_is_made_for() -> None:
    assert models.image_shape("lenet5") == (1, 32, 32)
    assert models.image_shape("vgg16") == models.image_shape("resnet20") == (3, 32, 32)
    assert models.image_shape("resnet50") == (3, 224, 224)
    with pytest.raises(ValueError, match="did you mean 'mobilenet'"):
        models.image_shape("mobilnet")


def test_the_head_of_vgg_follows_from_the_size_of_the_images() -> None:
    assert [type(layer).__name__ for layer in models.vgg11(image_size=63).classifier] == ["Linear"]
    large = models.vgg11(image_size=64, num_classes=7).classifier
    assert [layer.weight.shape for layer in large if isinstance(layer, nn.Linear)] == [
        (4096, 512 * 4), (4096, 4096), (7, 4096)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="image_size must be at least 32, got 31"):
        models.vgg11(image_size=31)
    with pytest.raises(ValueError, match="width_multiplier must be positive"):
        models.mobilenet(width_multiplier=0)


def test_initial_weights_are_torchvisions() -> None:
    model = models.vgg11(seed=3)
    conv, linear = model.features[4], model.classifier[0]
    np.testing.assert_allclose(conv.weight.data.std(), np.sqrt(2 / (128 * 9)), rtol=0.02)
    np.testing.assert_allclose(linear.weight.data.std(), 0.01, rtol=0.05)
    assert not conv.bias.data.any() and not linear.bias.data.any()
    resnet = models.resnet20().fc
    assert np.abs(resnet.weight.data).max() <= 1 / np.sqrt(64) < 1.1 * np.abs(resnet.weight.data).max()
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out'"):
        init.kaiming_normal_(conv.weight, "fan_avg")


# -- PyTorch's twin ---------------------------------------------------------------------------------------------------

SMALL: dict[str, tuple[Any, tuple[int, ...]]] = {
    "cifar": (lambda **more: ResNet(BasicBlock, (1, 2, 1), 4, "cifar", 10, 3, 0, **more), (5, 3, 12, 12)),
    "imagenet": (lambda **more: ResNet(Bottleneck, (1, 2, 1), 4, "imagenet", 7, 3, 0, **more), (3, 3, 45, 45)),
    "vgg11": (lambda **more: models.vgg11(**more), (4, 3, 32, 32)),
    "vgg11 plain": (lambda **more: models.vgg11(batch_norm=False, **more), (3, 3, 32, 32)),
    "mobilenet": (lambda **more: models.mobilenet(width_multiplier=0.1, **more), (17, 3, 32, 32)),
    "lenet5": (lambda **more: models.lenet5(**more), (3, 1, 32, 32)),
    "lenet5 1998": (lambda **more: models.lenet5_1998(**more), (3, 1, 32, 32)),
    "nin": (lambda **more: models.nin(dropout=0.0, **more), (2, 3, 16, 16)),
    "fastnet": (lambda **more: models.fastnet(widths=(8, 16, 16), **more), (17, 3, 16, 16)),
    "alexnet": (lambda **more: models.alexnet(7, hidden=9, dropout=0.0, **more), (2, 3, 71, 95)),
    "alexnet LRN": (
        lambda **more: models.alexnet(7, hidden=9, dropout=0.0, local_response_norm=True, **more), (2, 3, 67, 67)
    ),
    "googlenet": (lambda **more: undropped(models.googlenet(7, **more)), (2, 3, 65, 49)),
    "googlenet torchvision": (
        lambda **more: undropped(models.googlenet(7, form="torchvision", **more)), (3, 3, 64, 64)
    ),
}  # fmt: skip


def undropped(model: nn.Module) -> nn.Module:
    """The network without dropout, whose draws no twin shares."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def loss_of(function: Any, model: nn.Module, outputs: Any, labels: Any) -> Any:
    """The loss that training minimises: that of auxiliary classifiers counts 0.3."""
    if not isinstance(outputs, tuple):
        return function(outputs, labels)
    scores, *auxiliary = (function(output, labels) for output in outputs)
    for loss in auxiliary:
        scores = scores + 0.3 * loss
    return scores


def batch(shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape).astype(dtype), rng.integers(0, 7, shape[0])


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_scores_are_those_of_the_twin(name: str, training: bool) -> None:
    torch = pytest.importorskip("torch")
    from numbaconv.bench.twin import torch_twin

    build, shape = SMALL[name]
    model = build(dtype="float32").train(training)
    x, _ = batch(shape, "float32")
    twin = torch_twin(torch, model, shape)
    used = {key for key in model.state_dict() if "num_batches" not in key and (training or "aux" not in key)}
    assert set(twin.state_dict()) == used
    found, expected = (y if isinstance(y, tuple) else (y,) for y in (model(x), twin(torch.from_numpy(x))))
    assert len(found) == len(expected) == (3 if training and "googlenet" in name else 1)
    for a, b in zip(found, (tensor.detach().numpy() for tensor in expected), strict=True):
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()
    ours = model.state_dict()
    for name, tensor in twin.state_dict().items():  # running statistics have moved alike
        np.testing.assert_allclose(ours[name], tensor.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_those_of_the_twin(name: str, few_tiles: None) -> None:
    """In float64, where no ReLU sits so near to zero that rounding decides."""
    torch = pytest.importorskip("torch")
    from numbaconv.bench.twin import torch_twin

    build, shape = SMALL[name]
    model = build(dtype="float64")
    x, labels = batch(shape, "float64")
    twin = torch_twin(torch, model, shape, "float64")
    loss_of(torch.nn.functional.cross_entropy, model, twin(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
    graph = Graph()
    loss = loss_of(F.cross_entropy, model, model(graph.leaf(x)), graph.leaf(labels))
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.trainable]
    names, parameters = zip(*trained, strict=True)
    graph.output(*gradients(loss, [graph.leaf(parameter) for parameter in parameters]))
    expected = {name: parameter.grad.numpy() for name, parameter in twin.named_parameters() if parameter.requires_grad}
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for name, found in zip(names, compile_graph(graph).run(), strict=True):
        scale = max(np.abs(expected[name]).max(), 1e-6 * largest)  # a bias before a normalisation has gradient 0
        assert np.abs(found - expected[name]).max() <= 1e-8 * scale, name


def test_a_twin_is_straight_line_code_of_what_pytorch_users_write() -> None:
    torch = pytest.importorskip("torch")
    from numbaconv.bench.twin import torch_twin

    model = ResNet(BasicBlock, (1,), 4, "cifar", 10, 3, 0, "float32")
    code = torch_twin(torch, model, (2, 3, 8, 8)).code
    assert code.count("conv2d(") == 3 and code.count("batch_norm(") == 3 and code.count("relu(") == 3
    assert code.count("inplace = True") == 3 and "momentum = 0.1" in code
    assert "adaptive_avg_pool2d(" in code and "torch.flatten(" in code and "linear(" in code
    shared = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.25))
    assert "p = 0.25, training = True" in torch_twin(torch, shared, (2, 1, 3, 3)).code
    assert "dropout" not in torch_twin(torch, shared.eval(), (2, 1, 3, 3)).code


def test_a_twin_of_functions_and_unusual_arguments() -> None:
    torch = pytest.importorskip("torch")
    from numbaconv.bench.twin import torch_twin

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(np.full((3, 2, 4, 4), 0.5, np.float32))

        def forward(self, x: Any) -> Any:
            y = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
            z = F.batch_norm(F.relu(y), None, None, training=True)
            y = F.sigmoid(y) * self.scale - z / (1.5 * F.tanh(y) + 2)
            y = F.avg_pool2d(y, 2, 1, divisor_override=3)
            return F.log_softmax(F.reshape(y, (3, 3, 6)), 2)

    x, _ = batch((3, 2, 6, 6), "float32")
    model = Odd()
    found, expected = model(x), torch_twin(torch, model, x.shape)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    one_sided = nn.Conv2d(2, 1, 2, padding="same")
    with pytest.raises(ValueError, match="padding differs between two sides"):
        torch_twin(torch, one_sided, x.shape)


def test_networks_with_arguments_can_be_built_again_from_their_recipe() -> None:
    model = models.mobilenet(num_classes=3, width_multiplier=0.1, seed=4)
    recipe = models.recipe_of(model)
    assert recipe is not None
    again = models.build(recipe.name, **recipe.arguments)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, again.state_dict()[name])


def test_the_tables_of_lenet_are_the_papers() -> None:
    model = models.lenet5_1998()
    trained = {name: sum(parameter.size for parameter in layer.parameters()) for name, layer in model.named_children()}
    assert {name: size for name, size in trained.items() if size} == {
        "c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164
    }  # fmt: skip
    assert [len(seen) for seen in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    rng = np.random.default_rng(0)
    maps, c3 = rng.standard_normal((1, 6, 7, 7)).astype("float32"), model.c3
    found = c3(maps)
    start = 0
    for output, seen in enumerate(C3_TABLE):
        kernels = c3.weight.data[start : start + len(seen)]
        expected = F.conv2d(maps[:, seen], kernels[None])[0, 0]
        np.testing.assert_allclose(found[0, output], expected, rtol=1e-4, atol=1e-5)
        start += len(seen)
    with pytest.raises(ValueError, match="head must be 'rbf' or 'linear'"):
        models.lenet5_1998(head="softmax")
    with pytest.raises(ValueError, match="knows 10 characters, not 11 classes"):
        models.lenet5_1998(num_classes=11)


def test_scores_of_lenet_are_distances_to_characters() -> None:
    head = models.lenet5_1998().output
    assert set(np.unique(head.centres.data)) == {-1.0, 1.0}
    assert len(np.unique(head.centres.data, axis=0)) == 10
    x = np.random.default_rng(0).standard_normal((3, 84)).astype("float32")
    expected = -((x[:, None] - head.centres.data[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(head(x), expected, rtol=1e-4)


def test_the_first_layer_of_fastnet_whitens_patches() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((3, 3))
    images = np.einsum("dc,nchw->ndhw", mixing, rng.standard_normal((200, 3, 9, 9))).astype("float32")
    model = models.fastnet()
    model.prepare(images)
    assert not model.whiten.weight.trainable
    y = model.whiten(images)
    np.testing.assert_allclose(y[:, 12:], -y[:, :12], atol=1e-4)  # Every direction with both signs.
    found = np.cov(y[:, :12].transpose(1, 0, 2, 3).reshape(12, -1))
    np.testing.assert_allclose(found, np.eye(12), atol=0.02)
    with pytest.raises(ValueError, match="activation must be 'relu' or 'gelu'"):
        models.fastnet(activation="swish")


@pytest.mark.parametrize(
    ("name", "arguments", "least"),
    [
        ("nin", {}, 5), ("fastnet", {}, 9), ("resnet20", {}, 1), ("mobilenet", {}, 1), ("resnet50", {}, 1),
        ("googlenet", {}, 47), ("googlenet", {"form": "torchvision"}, 31), ("alexnet", {"hidden": 8}, 63),
    ],
)  # fmt: skip
def test_networks_with_global_pooling_take_images_of_any_size(
    name: str, arguments: dict[str, Any], least: int
) -> None:
    model = models.build(name, num_classes=10, **arguments)
    for side in (least, least + 1, 97):
        scores = model(Graph().input((2, 3, side, 2 * side)))
        for each in scores if isinstance(scores, tuple) else (scores,):
            assert each.shape == (2, 10)
    if least > 1:
        with pytest.raises(ValueError, match=f"{name}: images must have at least {least}×{least} pixels, these have"):
            model(Graph().input((2, 3, least - 1, 40)))


# -- every place of larger images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998", "nin", "resnet20"])
def test_a_fully_convolutional_network_has_the_same_scores(name: str) -> None:
    model = models.build(name)
    dense = models.as_fully_convolutional(model)
    channels, height, width = models.image_shape(name)
    x, _ = batch((3, channels, height, width), "float32")
    expected, found = model(x), dense(x)
    assert found.shape == (3, 10, 1, 1)
    np.testing.assert_allclose(found[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_a_fully_convolutional_lenet_looks_at_every_place() -> None:
    """LeNet-5 has no padding, so what it says of a window is what it says of the place."""
    model = models.lenet5()
    dense = models.as_fully_convolutional(model)
    x, _ = batch((2, 1, 40, 44), "float32")
    found = dense(x)
    assert found.shape == (2, 10, 3, 4)
    for row, column in np.ndindex(3, 4):
        window = x[:, :, 4 * row : 4 * row + 32, 4 * column : 4 * column + 32]
        np.testing.assert_allclose(found[:, :, row, column], model(window), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="at least 32×32 pixels"):
        dense(x[:, :, :31])
    with pytest.raises(ValueError, match="shape must say what images"):
        models.as_fully_convolutional(nn.Sequential(nn.Conv2d(1, 2, 3)))


# -- learning ---------------------------------------------------------------------------------------------------------

#: The optimizer of deep networks without normalisation, which plain SGD hardly gets to begin, and that of the others.
ADAM, SGD = optim.Adam, functools.partial(optim.SGD, momentum=0.9)

#: What learns a batch of 16 by heart: builder, shape of an image, optimizer, learning rate.
LEARNERS: dict[str, tuple[Any, tuple[int, int, int], Any, float]] = {
    "lenet5": (models.lenet5, (1, 32, 32), SGD, 0.1),
    "lenet5_1998": (models.lenet5_1998, (1, 32, 32), SGD, 0.01),
    "nin": (lambda: models.nin(dropout=0.0), (3, 16, 16), ADAM, 3e-4),
    "fastnet": (lambda: models.fastnet(widths=(16, 32, 32)), (3, 32, 32), SGD, 0.5),
    "vgg11": (models.vgg11, (3, 32, 32), SGD, 0.02),
    "vgg11 plain": (lambda: models.vgg11(batch_norm=False), (3, 32, 32), ADAM, 1e-3),
    "vgg16 for ImageNet": (lambda: models.vgg16(7, image_size=64, batch_norm=False), (3, 64, 64), ADAM, 3e-4),
    "mobilenet": (lambda: models.mobilenet(width_multiplier=0.25), (3, 32, 32), SGD, 0.1),
    "resnet20": (models.resnet20, (3, 32, 32), SGD, 0.1),
    "resnet18": (lambda: models.resnet18(7), (3, 64, 64), SGD, 0.05),
    "resnet50": (lambda: models.resnet50(7), (3, 64, 64), SGD, 0.02),
    "alexnet": (lambda: models.alexnet(7, hidden=64, dropout=0.0), (3, 96, 96), ADAM, 1e-3),
    "googlenet": (lambda: undropped(models.googlenet(7)), (3, 64, 64), ADAM, 1e-3),
    "googlenet torchvision": (lambda: undropped(models.googlenet(7, form="torchvision")), (3, 64, 64), SGD, 0.05),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_a_batch_is_learnt_by_heart(name: str) -> None:
    build, (channels, height, width), optimizer, lr = LEARNERS[name]
    squares, labels = batch((16, channels, 4, 4), "float32")  # Noise of pixels is alike to whoever takes means.
    x = np.kron(squares, np.ones((height // 4, width // 4), np.float32))
    trainer = nc.Trainer(undropped(build()), optimizer=optimizer(lr=lr), batch_size=16)
    losses: list[float] = []
    while len(losses) < 200 and (not losses or losses[-1] >= 0.01):
        losses.append(trainer.step(x, labels))
    assert losses[-1] < 0.01, losses[::10]
