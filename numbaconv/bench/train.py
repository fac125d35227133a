"""Whole training steps: a batch from resident float images through forward, loss, backward and update.

PyTorch's step is the usual one: ``zero_grad(set_to_none=True)``, forward, cross entropy, backward, SGD with momentum,
and the loss as a Python number, which ours returns too.  It starts from the same weights with the batch already cut
and in the layout at hand, whereas ours picks its batch by index in every step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import numbaconv.functional as F
from numbaconv import models, optim
from numbaconv.graph import Spec
from numbaconv.nn import Module
from numbaconv.training.scaling import loss_scale_for
from numbaconv.training.step import TrainStep

from .peers import in_all_layouts, laid_out
from .report import Row, column
from .session import Session
from .shapes import batches_of
from .twin import torch_twin

_CLASSES = 10  # that labels are drawn from; no network has fewer
LR, MOMENTUM = 0.01, 0.9


@dataclass(kw_only=True)
class TrainRow(Row):
    """One network at one batch size; ``loss_error`` compares the loss of the first step, relative to PyTorch's."""

    batch: int = column("batch", default=0)
    ratio: float | None = column("ratio", ".2f")
    ours_images_per_s: float = column("ours images/s", ",.0f", 0.0)
    torch_nchw_images_per_s: float | None = column("torch NCHW", ",.0f")
    torch_channels_last_images_per_s: float | None = column("torch channels_last", ",.0f")
    torch_compile_images_per_s: float | None = column("torch.compile", ",.0f")
    ours_ms: float = column("ours ms", ",.3f", 0.0)
    ours_gflops: float = column("ours GFLOP/s", ",.1f", 0.0)
    share_of_peak: float = column("of peak", ".0%", 0.0)
    loss_error: float | None = column("loss error", ".1e")


def measure(
    session: Session,
    networks: Sequence[str] = ("lenet5",),
    batches: Sequence[int] | None = None,
    compile: bool = False,
) -> Sequence[Row]:
    """A row for each network and batch size.

    Args:
        session: rounds and other libraries.
        networks: names of ``numbaconv.models``.
        batches: images a step; by default what ``shapes`` says of each network.
        compile: let ``torch.compile`` take part too, in both layouts; it needs a C++ compiler and its time.
    """
    work = [(network, batch, compile) for network in networks for batch in batches or batches_of(network).train]
    rows = session.each(work, lambda network, batch, _: f"{network}, batch {batch}", measure_step)
    for row in rows:  # by now the peak is known best
        row.share_of_peak = row.ours_gflops * 1e9 / session.peak
    return rows


def random_batch(network: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal images, as the network is made for, and random labels."""
    rng = np.random.default_rng(0)
    shape = (batch, *models.image_shape(network))
    return rng.standard_normal(shape, np.float32), rng.integers(0, _CLASSES, batch)


def build_step(
    network: str, images: np.ndarray, labels: np.ndarray, device: str = "cpu", precision: str = "fp32"
) -> tuple[Module, TrainStep]:
    """A network and our training step of it, for a resident batch."""
    model = models.build(network)
    specs = Spec(images.shape, images.dtype), Spec(labels.shape, labels.dtype)
    channels = images.shape[1]
    step = TrainStep(
        model, F.cross_entropy, optim.SGD(LR, MOMENTUM), len(images), *specs,
        mean=[0.0] * channels, std=[1.0] * channels, scale=loss_scale_for(precision),
        device=device, precision=precision,
    )  # fmt: skip
    return model, step


def measure_step(session: Session, network: str, batch: int, compile: bool = False) -> TrainRow:
    """One row."""
    images, labels = random_batch(network, batch)
    indices = np.arange(batch)
    model, step = build_step(network, images, labels)
    calls: dict[str, Callable[[], Any]] = {}
    error = None
    if session.torch is not None:
        calls = _torch_calls(session, model, images, labels, compile)
        theirs = calls["nchw"]()  # before our first step, which changes the model but not its twins
        error = abs(step(images, labels, indices)[0] - theirs) / abs(theirs)
    calls["ours"] = lambda: step(images, labels, indices)
    seconds = session.time_beside_peak(calls)
    rates = {name: batch / s for name, s in seconds.items()}
    ours = seconds.pop("ours")
    flops = sum(planned.flops for planned in step.executable.plan.steps)
    compiled = [rate for name, rate in rates.items() if name.startswith("compile")]
    return TrainRow(
        name=network,
        batch=batch,
        ratio=min(seconds.values()) / ours if seconds else None,
        ours_images_per_s=rates["ours"],
        torch_nchw_images_per_s=rates.get("nchw"),
        torch_channels_last_images_per_s=rates.get("channels_last"),
        torch_compile_images_per_s=max(compiled, default=None),
        ours_ms=ours * 1e3,
        ours_gflops=flops / ours / 1e9,
        share_of_peak=flops / ours / session.peak,
        loss_error=error,
    )


def _torch_calls(
    session: Session, model: Module, images: np.ndarray, labels: np.ndarray, compile: bool
) -> dict[str, Callable[[], float]]:
    """PyTorch's step in both layouts, and compiled if asked for and possible."""
    torch = session.torch
    calls = in_all_layouts(torch, lambda form: torch_step(torch, model, images, labels, form))
    if compile:
        compiled = in_all_layouts(torch, lambda form: torch_step(torch, model, images, labels, form, compile=True))
        try:
            for name, call in compiled.items():
                call()
                calls[f"compile {name}"] = call
        except Exception as error:  # whatever its compiler fails with
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            session.notes.append(f"torch.compile: left out, it fails here: {reason}")
    return calls


def torch_step(
    torch: Any, model: Module, images: np.ndarray, labels: np.ndarray, form: Any, compile: bool = False,
    device: str = "cpu", dtype: Any = None,
) -> Callable[[], Any]:  # fmt: skip
    """PyTorch's training step of the twin of ``model``; gives the loss, on a GPU without waiting for it.

    ``dtype``: another one than float32 is what ``torch.autocast`` makes of products.
    """
    x, y = laid_out(torch, images, form).to(device), torch.from_numpy(labels).to(device)
    twin = torch_twin(torch, model, images.shape).to(device, memory_format=form)
    optimizer = torch.optim.SGD(twin.parameters(), LR, MOMENTUM)

    weight = getattr(model, "auxiliary_weight", 0.0)

    def loss_of(x: Any, y: Any) -> Any:
        with torch.autocast(device, dtype) if dtype not in (None, torch.float32) else contextlib.nullcontext():
            outputs = twin(x)
            if not isinstance(outputs, tuple):
                return torch.nn.functional.cross_entropy(outputs, y)
            loss, *auxiliary = (torch.nn.functional.cross_entropy(scores, y) for scores in outputs)
            return loss + weight * sum(auxiliary)

    if compile:
        loss_of = torch.compile(loss_of)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return float(loss.item()) if device == "cpu" else loss

    return step
