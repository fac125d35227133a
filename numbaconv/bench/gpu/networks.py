"""Whole networks: training steps and inference, with data on the device and nothing that waits for a result.

PyTorch gets channels_last and the same precision: float32 or tf32, or for bf16 and fp16 ``torch.autocast`` in training
and weights of 2 bytes in inference.  Training steps take turns with its eager mode and, as rows of their own, with a
compiled step that is replayed as one CUDA graph, which is the fastest form there is of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numbaconv import models
from numbaconv.graph import Graph, compile_graph
from numbaconv.kernels.device import driver_for, to_device

from ..infer import torch_call
from ..session import Session
from ..train import build_step, random_batch, torch_step
from . import passes
from .item import Item
from .row import GpuRow
from .turns import Turns

TRAINING, INFERENCE, COMPILED = "training step", "inference", "training step, torch.compile"

#: Seconds that torch.compile may take.
COMPILING = 150.0

Which = Sequence[tuple[str, int]]


def items(trained: Which, inferred: Which, precisions: Sequence[str]) -> list[Item]:
    """Rows for networks and batch sizes, beside PyTorch's eager mode."""
    steps = [_item(TRAINING, *which, p) for which in trained for p in precisions]
    return steps + [_item(INFERENCE, *which, p) for which in inferred for p in precisions]


def compiled_items(trained: Which, precisions: Sequence[str]) -> list[Item]:
    """Rows for training steps beside compiled ones of PyTorch."""
    return [_item(COMPILED, *which, p) for which in trained for p in precisions]


def _item(work: str, network: str, batch: int, precision: str) -> Item:
    def prepare(_: Any) -> None:
        if work == INFERENCE:
            _inference(models.build(network).eval(), random_batch(network, batch)[0], precision)
        else:
            build_step(network, *random_batch(network, batch), "cuda", precision)

    def measure(session: Session) -> list[GpuRow]:
        return _measure(session, work, network, batch, precision)

    return Item(f"{network}, batch {batch}, {work}, {precision}", prepare, measure, COMPILING)


def _inference(model: Any, images: np.ndarray, precision: str) -> Any:
    graph = Graph()
    graph.output(model(graph.input(images.shape, images.dtype)))
    return compile_graph(graph, freeze=True, device="cuda", precision=precision)


def _measure(session: Session, work: str, network: str, batch: int, precision: str) -> list[GpuRow]:
    if work == COMPILED and session.torch is None:
        return []
    images, labels = random_batch(network, batch)
    there, labels_there = to_device(images), to_device(labels)
    if work == INFERENCE:
        model = models.build(network).eval()
        compiled = _inference(model, images, precision)
        calls: dict[str, tuple[Callable[[], Any], int]] = {"ours": (lambda: compiled.run([there]), 1)}
    else:
        indices = np.arange(batch)
        model, step = build_step(network, images, labels, "cuda", precision)
        calls = {"ours": (lambda: step(there, labels_there, indices), 1)}
    if session.torch is not None:
        calls["torch"] = _torch(session.torch, work, model, images, labels, precision), 1
    seconds = Turns(driver_for("cuda").timed, session.rounds).seconds(calls)
    row = GpuRow(
        name=f"{network}, batch {batch}",
        direction=f"{work}, {precision}",
        ratio=seconds["torch"] / seconds["ours"] if "torch" in seconds else None,
        ours_us=seconds["ours"] * 1e6,
        torch_us=seconds["torch"] * 1e6 if "torch" in seconds else None,
    )
    return [row]


def _torch(
    torch: Any, work: str, model: Any, images: np.ndarray, labels: np.ndarray, precision: str
) -> Callable[[], Any]:
    passes.allow_tf32(torch, precision)
    torch.backends.cudnn.benchmark = True
    dtype, form, device = passes.torch_dtype(torch, precision), torch.channels_last, passes.TORCH_DEVICE
    if work == INFERENCE:
        return torch_call(torch, model, images, form, device, dtype)
    step = torch_step(torch, model, images, labels, form, work == COMPILED, device, dtype)
    return captured(torch, step) if work == COMPILED and device == "cuda" else step


def captured(torch: Any, step: Callable[[], Any]) -> Callable[[], Any]:
    """A training step as one CUDA graph, as PyTorch's manual says: warmed up on another stream first."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held = step()

    def replay() -> Any:
        graph.replay()
        return held

    return replay
