"""Things to measure of which some go wrong, for test_gpu_bench.py."""

import os
import time
from collections.abc import Sequence
from typing import Any

from numbaconv.bench.gpu.item import Item
from numbaconv.bench.gpu.row import GpuRow
from numbaconv.kernels.device import DeviceError, driver_for


def items() -> list[Item]:
    def lose(session: Any) -> Sequence[GpuRow]:
        """As after an illegal address: from then on every call of the driver fails."""

        def lost() -> None:
            raise DeviceError("an illegal memory access was encountered")

        driver_for("cuda").synchronize = lost  # type: ignore[method-assign]
        lost()
        return []

    def row(name: str) -> Item:
        return Item(name, lambda _: None, lambda session: [GpuRow(name=name)])

    def fault(name: str, what: Any, seconds: float = 60.0) -> Item:
        return Item(name, lambda _: None, what, seconds)

    return [
        row("first"),
        fault("crash", lambda session: os._exit(3)),
        row("behind a crash"),
        fault("hang", lambda session: time.sleep(100), 0.5),
        row("behind a hang"),
        fault("fault", lambda session: [1 / 0]),
        row("behind a fault"),
        fault("loss of the GPU", lose),
        row("behind the loss"),
    ]
