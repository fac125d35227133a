"""Operators that memory decides: what share of a copy's bandwidth, measured in turn with each of them, they reach.

A value counts as often as the operator's definition must read or write it: whatever a pass moves beyond that costs it
here.  Values are several times as large as the second-level cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import numbaconv.functional as F
from numbaconv.graph import Graph, gradients
from numbaconv.graph.device import DeviceExecutable, DevicePlan
from numbaconv.kernels.device import DeviceArray, driver_for, to_device

from ..conv import inside_a_network
from ..session import Session
from .item import Item
from .row import GpuRow
from .turns import Turns

CHANNELS, SIZE = 64, 32
OPERAND_BYTES = {"fp32": 4, "bf16": 2}
PLACE_BYTES = 4  # of where a maximum is


class Operator(NamedTuple):
    """Something to time.

    Attributes:
        name: of the row.
        function: of tensors (N, 64, 32, 32).
        arguments: how many tensors it takes.
        values: how many such tensors it must read and write.
        places: the same of integers of 4 bytes.
        backward: whether the gradients of all tensors are calculated, too.
        channels: whether it asks for channels, so that it works in the engine's layout and precision; others take
            arrays as they are.
    """

    name: str
    function: Callable[..., Any]
    arguments: int
    values: float
    places: float = 0.0
    backward: bool = False
    channels: bool = False


def _batch_norm(x: Any) -> Any:
    ones = np.ones(CHANNELS, np.float32)
    return F.batch_norm(x, None, None, ones, ones, training=True)


#: Batch norm takes two passes, statistics and arithmetic, and its gradients take two more: none can do with fewer.
OPERATORS = (
    Operator("relu", F.relu, 1, 2),
    Operator("gelu", F.gelu, 1, 2),
    Operator("add, relu", lambda x, y: F.relu(x + y), 2, 3),
    Operator("gelu and gradient", F.gelu, 1, 4, backward=True),
    Operator("batch_norm", _batch_norm, 1, 3, channels=True),
    Operator("batch_norm and gradient", _batch_norm, 1, 8, backward=True, channels=True),
    Operator("max_pool2d", lambda x: F.max_pool2d(x, 2), 1, 1.25, channels=True),
    Operator("max_pool2d and gradient", lambda x: F.max_pool2d(x, 2), 1, 2.5, 0.5, backward=True, channels=True),
    Operator("avg_pool2d", lambda x: F.avg_pool2d(x, 2), 1, 1.25, channels=True),
    Operator("avg_pool2d and gradient", lambda x: F.avg_pool2d(x, 2), 1, 2.5, backward=True, channels=True),
)


def items(elements: int, precisions: Sequence[str]) -> list[Item]:
    """A row for each operator on values of so many elements, in 4 bytes and, where it can be, in 2."""
    chosen = [p for p in ("fp32", "bf16") if p in precisions]
    return [_item(o, elements, p) for p in chosen for o in OPERATORS if o.channels or p == "fp32"]


def _item(operator: Operator, elements: int, precision: str) -> Item:
    shape = (max(1, elements // (CHANNELS * SIZE * SIZE)), CHANNELS, SIZE, SIZE)
    return Item(
        f"{operator.name}, {precision}",
        lambda _: _planned(operator, shape, precision),
        lambda session: _measure(session, operator, shape, precision),
    )


@functools.lru_cache(maxsize=3)
def _drawn(driver: Any, shape: tuple[int, ...], number: int = 0) -> DeviceArray:
    return to_device(np.resize(np.random.default_rng(number).standard_normal((1 << 16) + 1, np.float32), shape))


def _planned(operator: Operator, shape: tuple[int, ...], precision: str) -> DeviceExecutable:
    driver: Any = driver_for("cuda")
    graph = Graph()
    x = [graph.leaf(_drawn(driver, shape, number)) for number in range(operator.arguments)]
    result = operator.function(*x)
    graph.output(result)
    if operator.backward:
        graph.output(*gradients(result, x, graph.leaf(_drawn(driver, result.shape))))
    return DeviceExecutable(DevicePlan(graph, driver, precision=precision), graph)


def _measure(session: Session, operator: Operator, shape: tuple[int, ...], precision: str) -> list[GpuRow]:
    driver: Any = driver_for("cuda")
    run = _planned(operator, shape, precision)
    run.run()
    launches = run.launches(inside_a_network)
    source = _drawn(driver, shape)
    target = DeviceArray(driver, shape, np.float32)
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "ours": (driver.record(launches, in_order=True), 1),
        "copy": (lambda: driver.copy(target.address, source.address, source.nbytes), 1),
    }
    seconds = Turns(driver.timed, session.rounds).seconds(calls)
    rate = source.size * (operator.values * OPERAND_BYTES[precision] + operator.places * PLACE_BYTES) / seconds["ours"]
    copied = 2 * source.nbytes / seconds["copy"]
    row = GpuRow(
        name=operator.name,
        direction=f"memory, {precision}",
        ours_us=seconds["ours"] * 1e6,
        gbytes=rate / 1e9,
        of_copy=rate / copied,
        kernels="; ".join(launch.kernel.label for launch in launches),
    )
    return [row]
