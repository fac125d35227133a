"""PyTorch's twin of a network: what a PyTorch user would have written for it, with the same weights.

The network is traced, and its graph is written as a ``torch.fx.Graph``, from which PyTorch generates a module whose
``forward`` is straight-line Python that calls ``torch.nn.functional``: no layer is interpreted, ``torch.compile`` takes
it like any other module, and parameters and buffers have the names they have here.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import DTypeLike

from numbaconv.graph import Graph, Node, Tensor, Variable
from numbaconv.graph.geometry import is_flatten, is_global, rounds_up, slides
from numbaconv.nn import Module


def torch_twin(torch: Any, model: Module, shape: Sequence[int], dtype: DTypeLike = "float32") -> Any:
    """The ``torch.nn.Module`` that computes what ``model`` computes in the mode it is in (training or evaluation).

    In training, batch normalisation moves the running statistics as ``torch.nn.BatchNorm2d`` does.

    Args:
        torch: the module.
        model: the network, of one input; with several outputs, the twin returns a tuple too.
        shape: of a batch, ``(N, C, H, W)``.
        dtype: of the batch.

    Raises:
        ValueError: if the network holds an operator that has no translation here.
    """
    graph = Graph()
    outputs = model(graph.input(shape, dtype))
    graph.output(*(outputs if isinstance(outputs, tuple) else (outputs,)))
    root = _holder(torch, model)
    names = {id(variable): name for name, variable in (*model.named_parameters(), *model.named_buffers())}
    return torch.fx.GraphModule(root, _Translation(torch, graph, root, names).graph, "Twin").train(model.training)


_PROGRAM = """
import torch

class Twin(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name, shape in {parameters}:
            self.parent(name).register_parameter(name.split(".")[-1], torch.nn.Parameter(torch.randn(shape) * 0.05))
        for name, shape in {buffers}:
            self.parent(name).register_buffer(name.split(".")[-1], torch.ones(shape))

    def parent(self, name):
        module = self
        for part in name.split(".")[:-1]:
            if not hasattr(module, part):
                module.add_module(part, torch.nn.Module())
            module = getattr(module, part)
        return module
{forward}
Twin.forward = forward
model = Twin()
"""


def torch_program(torch: Any, model: Module, shape: Sequence[int]) -> str:
    """Python source that makes ``model``, the twin with random weights, of nothing but PyTorch; see ``torch_twin``."""
    twin = torch_twin(torch, model, shape)
    return _PROGRAM.format(
        parameters=[(name, tuple(tensor.shape)) for name, tensor in twin.named_parameters()],
        buffers=[(name, tuple(tensor.shape)) for name, tensor in twin.named_buffers()],
        forward=twin.code,
    )


def _holder(torch: Any, model: Module) -> Any:
    """A tree of modules that holds copies of the network's parameters and buffers, and nothing else."""
    root = torch.nn.Module()
    for name, variable in model.named_parameters():
        tensor = torch.nn.Parameter(torch.tensor(variable.data), requires_grad=variable.trainable)
        _parent(torch, root, name).register_parameter(name.rpartition(".")[2], tensor)
    for name, variable in model.named_buffers():
        _parent(torch, root, name).register_buffer(name.rpartition(".")[2], torch.tensor(variable.data))
    return root


def _parent(torch: Any, root: Any, name: str) -> Any:
    """The module that a dotted name lies in; it is made where there is none."""
    for part in name.split(".")[:-1]:
        if not hasattr(root, part):
            root.add_module(part, torch.nn.Module())
        root = getattr(root, part)
    return root


class _Translation:
    """``graph`` is the ``torch.fx.Graph`` that does what one of ours does, for a root module with these names."""

    def __init__(self, torch: Any, ours: Graph, root: Any, names: dict[int, str]) -> None:
        self.torch, self.functional, self.ours, self.root, self.names = torch, torch.nn.functional, ours, root, names
        self.graph = torch.fx.Graph()
        self._values: dict[int, Any] = {}
        self._sources = dict(zip(map(id, ours.leaves), ours.sources, strict=True))
        live = ours.live_from(ours.outputs)  # the updates are those of running statistics, which PyTorch makes itself
        nodes = [node for node in ours.nodes if id(node) in live]
        self.users = Counter(id(tensor) for tensor in (*(t for node in nodes for t in node.inputs), *ours.outputs))
        for leaf, source in zip(ours.leaves, ours.sources, strict=True):
            if source is None:
                self._values[id(leaf)] = self.graph.placeholder("x")
        for node in nodes:
            translate = _TRANSLATIONS.get(node.op.name)
            if translate is None:
                raise ValueError(f"bench: there is no translation of {node.op.name} to PyTorch")
            self._values[id(node.outputs[0])] = translate(self, node)
        outputs = tuple(self.value(output) for output in ours.outputs)
        self.graph.output(outputs[0] if len(outputs) == 1 else outputs)

    def value(self, tensor: Tensor) -> Any:
        """What stands for a tensor; parameters and buffers are read where they are used first."""
        if id(tensor) not in self._values:
            source = self._sources[id(tensor)]
            name = self.names.get(id(source))
            if name is None:
                name = f"constant{len(self._values)}"
                array = source.data if isinstance(source, Variable) else source
                self.root.register_buffer(name, self.torch.tensor(array), persistent=False)
            self._values[id(tensor)] = self.graph.get_attr(name)
        return self._values[id(tensor)]

    def call(self, function: Callable | str, *tensors: Tensor | None, **arguments: Any) -> Any:
        """A call of a function, or of the one of ``torch.nn.functional`` that has this name."""
        if isinstance(function, str):
            function = getattr(self.functional, function)
        values = tuple(None if tensor is None else self.value(tensor) for tensor in tensors)
        return self.graph.call_function(function, values, arguments)


# ------------------------------------------------------------------------------------------------ operators

_Translate = Callable[[_Translation, Node], Any]


def _conv(to: _Translation, node: Node) -> Any:
    attrs = node.attrs
    if any(before != after for before, after in attrs["padding"]):
        raise ValueError("bench: PyTorch has no convolution whose padding differs between two sides")
    return to.call(
        f"conv{len(attrs['stride'])}d", *node.inputs, stride=attrs["stride"],
        padding=tuple(before for before, _ in attrs["padding"]), dilation=attrs["dilation"], groups=attrs["groups"],
    )  # fmt: skip


def _conv_transpose(to: _Translation, node: Node) -> Any:
    attrs = node.attrs
    return to.call(
        f"conv_transpose{len(attrs['stride'])}d", *node.inputs, stride=attrs["stride"],
        padding=tuple(before for before, _ in attrs["padding"]),
        output_padding=tuple(before - after for before, after in attrs["padding"]), dilation=attrs["dilation"],
        groups=attrs["groups"],
    )  # fmt: skip


def _batch_norm(to: _Translation, node: Node) -> Any:
    """In training; running statistics and momentum are those of the updates that the trace wrote down.

    An update is ``running * (1 - momentum) + new * factor``, the factor of the mean being the momentum.
    """
    x, weight, bias = node.inputs
    running: dict[int, Tensor] = {}
    momentum = 0.0
    for leaf, value in to.ours.updates:
        new = value.node.inputs[-1].node if value.node is not None else None
        if new is None or new.inputs[0].node is not node:
            continue
        position = next(i for i, output in enumerate(node.outputs) if output is new.inputs[0])
        running[position] = leaf
        momentum = new.attrs["factor"] if position == 1 else momentum
    return to.call(
        "batch_norm", x, running.get(1), running.get(2), weight, bias,
        training=True, momentum=momentum, eps=node.attrs["eps"],
    )  # fmt: skip


def _normalize(to: _Translation, node: Node) -> Any:
    return to.call("batch_norm", *node.inputs, training=False, eps=node.attrs["eps"])


#: Operators that need their result for no gradient: a ReLU behind them may overwrite it.
_OVERWRITABLE = ("add", "batch_norm", "conv", "linear", "normalize")


def _relu(to: _Translation, node: Node) -> Any:
    """In place where that changes nothing else, as torchvision's networks have it."""
    (x,) = node.inputs
    in_place = x.node is not None and x.node.op.name in _OVERWRITABLE and to.users[id(x)] == 1
    return to.call("relu", x, inplace=in_place)


def _adaptive(to: _Translation, node: Node, kind: str) -> Any:
    size = node.attrs["size"]
    return to.call(f"adaptive_{kind}_pool{len(size)}d", node.inputs[0], output_size=size)


def _max_pool(to: _Translation, node: Node) -> Any:
    attrs = node.attrs
    if not slides(node):
        return _adaptive(to, node, "max")
    return to.call(
        f"max_pool{len(attrs['kernel'])}d", *node.inputs, kernel_size=attrs["kernel"], stride=attrs["stride"],
        padding=attrs["padding"], dilation=attrs["dilation"], ceil_mode=rounds_up(node),
    )  # fmt: skip


def _avg_pool(to: _Translation, node: Node) -> Any:
    attrs = node.attrs
    if not slides(node):
        return _adaptive(to, node, "avg")
    dimensions = len(attrs["kernel"])
    if is_global(node) and not attrs["divisor"]:
        return to.call(f"adaptive_avg_pool{dimensions}d", *node.inputs, output_size=1)
    divisor = {"divisor_override": attrs["divisor"]} if attrs["divisor"] else {}
    return to.call(
        f"avg_pool{dimensions}d", *node.inputs, kernel_size=attrs["kernel"], stride=attrs["stride"],
        padding=attrs["padding"], ceil_mode=rounds_up(node), count_include_pad=attrs["count_include_pad"], **divisor,
    )  # fmt: skip


def _reshape(to: _Translation, node: Node) -> Any:
    if is_flatten(node):
        return to.call(to.torch.flatten, *node.inputs, start_dim=1)
    return to.call(to.torch.reshape, *node.inputs, shape=node.attrs["shape"])


def _scale(to: _Translation, node: Node) -> Any:
    product = to.graph.call_function(operator.mul, (to.value(node.inputs[0]), node.attrs["factor"]))
    return to.graph.call_function(operator.add, (product, node.attrs["offset"]))


def _dropout(to: _Translation, node: Node) -> Any:
    if node.attrs["leading"] != node.inputs[0].ndim or node.attrs["shift"]:
        raise ValueError("bench: there is no translation of this kind of dropout to PyTorch")
    return to.call("dropout", node.inputs[0], p=node.attrs["p"], training=True)


def _concat(to: _Translation, node: Node) -> Any:
    values = [to.value(tensor) for tensor in node.inputs]
    return to.graph.call_function(to.torch.cat, (values,), {"dim": node.attrs["dim"]})


def _local_response_norm(to: _Translation, node: Node) -> Any:
    return to.call("local_response_norm", *node.inputs, **node.attrs)


def _along_axis(function: str) -> _Translate:
    return lambda to, node: to.call(function, *node.inputs, dim=node.attrs["axis"])


def _plain(function: Callable | str) -> _Translate:
    return lambda to, node: to.call(function, *node.inputs)


_TRANSLATIONS: dict[str, _Translate] = {
    "add": _plain(operator.add),
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "concat": _concat,
    "conv": _conv,
    "conv_input_grad": _conv_transpose,
    "divide": _plain(operator.truediv),
    "dropout": _dropout,
    "gelu": _plain("gelu"),
    "linear": _plain("linear"),
    "local_response_norm": _local_response_norm,
    "log_softmax": _along_axis("log_softmax"),
    "max_pool": _max_pool,
    "multiply": _plain(operator.mul),
    "normalize": _normalize,
    "relu": _relu,
    "relu6": _plain("relu6"),
    "reshape": _reshape,
    "scale": _scale,
    "sigmoid": _plain("sigmoid"),
    "softmax": _along_axis("softmax"),
    "subtract": _plain(operator.sub),
    "tanh": _plain("tanh"),
}
