"""Graphs: tracing, differentiation, planning, running."""

from ..ops.core import Spec
from .autodiff import grad, gradients, trace, value_and_grad, vjp
from .check import check_gradients
from .graph import Graph, Node, Tensor, Variable
from .runner import Executable, compile_graph

__all__ = [
    "Executable", "Graph", "Node", "Spec", "Tensor", "Variable",
    "check_gradients", "compile_graph", "grad", "gradients", "trace", "value_and_grad", "vjp",
]  # fmt: skip
