"""Inference: a batch of NumPy images to NumPy scores, for one image and for many.

Ours is ``numbaconv.compile``, PyTorch runs the same layers eagerly in inference mode with its input already in the
layout at hand, onnxruntime runs the same graph with all its optimisations.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import numbaconv as nc
from numbaconv import models
from numbaconv.graph import Graph
from numbaconv.kernels.cpu import runner
from numbaconv.nn import Module

from .exact import relative_error
from .onnxfile import to_onnx
from .peers import in_all_layouts, laid_out
from .report import Row, column
from .session import Session
from .shapes import batches_of
from .train import random_batch
from .twin import torch_twin


@dataclass(kw_only=True)
class InferRow(Row):
    """One network at one batch size; ``ratio`` is to PyTorch's best, ``error`` the largest difference to the others."""

    batch: int = column("batch", default=0)
    ratio: float | None = column("ratio", ".2f")
    onnxruntime_ratio: float | None = column("to onnxruntime", ".2f")
    ours_us: float = column("ours µs", ",.1f", 0.0)
    torch_nchw_us: float | None = column("torch NCHW µs", ",.1f")
    torch_channels_last_us: float | None = column("channels_last µs", ",.1f")
    onnxruntime_us: float | None = column("onnxruntime µs", ",.1f")
    ours_images_per_s: float = column("ours images/s", ",.0f", 0.0)
    error: float | None = column("error", ".1e")


def measure(
    session: Session, networks: Sequence[str] = ("lenet5",), batches: Sequence[int] | None = None
) -> Sequence[Row]:
    """A row for each network and batch size.

    Args:
        session: rounds and other libraries.
        networks: names of ``numbaconv.models``.
        batches: images a call; by default what ``shapes`` says of each network.
    """
    work = [(network, batch) for network in networks for batch in batches or batches_of(network).infer]
    return session.each(work, lambda network, batch: f"{network}, batch {batch}", measure_call)


def measure_call(session: Session, network: str, batch: int) -> InferRow:
    """One row."""
    images, _ = random_batch(network, batch)
    model = models.build(network).eval()
    ours = nc.compile(model, freeze=True)
    calls: dict[str, Callable[[], Any]] = {"ours": lambda: ours(images)}
    others: dict[str, Callable[[], Any]] = {}
    if session.torch is not None:
        others |= in_all_layouts(session.torch, lambda form: torch_call(session.torch, model, images, form))
    if "onnxruntime" in session.against:
        others |= _onnxruntime_call(session, network, model, images)
    scores = ours(images)
    errors = [relative_error(np.asarray(scores), np.asarray(call())) for call in others.values()]
    seconds = session.time(calls | others)
    theirs = [seconds[name] for name in ("nchw", "channels_last") if name in seconds]
    micro = {name: s * 1e6 for name, s in seconds.items()}
    return InferRow(
        name=network,
        batch=batch,
        ratio=min(theirs) / seconds["ours"] if theirs else None,
        onnxruntime_ratio=seconds["onnxruntime"] / seconds["ours"] if "onnxruntime" in seconds else None,
        ours_us=micro["ours"],
        torch_nchw_us=micro.get("nchw"),
        torch_channels_last_us=micro.get("channels_last"),
        onnxruntime_us=micro.get("onnxruntime"),
        ours_images_per_s=batch / seconds["ours"],
        error=max(errors, default=None),
    )


def torch_call(
    torch: Any, model: Module, images: np.ndarray, form: Any, device: str = "cpu", dtype: Any = None
) -> Callable[[], Any]:
    """PyTorch's inference of the twin of ``model``; ``dtype`` of weights and images, float32 by default."""
    twin = torch_twin(torch, model, images.shape).to(device, dtype or torch.float32, memory_format=form)
    x = laid_out(torch, images, form).to(device, dtype or torch.float32)

    def call() -> Any:
        with torch.inference_mode():
            return twin(x)

    return call


def _onnxruntime_call(session: Session, network: str, model: Module, images: np.ndarray) -> dict[str, Callable]:
    """onnxruntime on the traced network; nothing but a note if the network cannot be written as ONNX."""
    graph = Graph()
    graph.output(model(graph.input(images.shape, images.dtype)))
    try:
        document = to_onnx(graph)
    except ValueError as error:
        session.notes.append(f"onnxruntime: {network} is left out, {error}")
        return {}
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runner.get_threads()
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    run = onnxruntime.InferenceSession(document, options, providers=["CPUExecutionProvider"]).run
    return {"onnxruntime": lambda: run(None, {"input0": images})[0]}
