"""What every kernel of a few networks may cost a thread: registers, no spills, and instructions that must be there.

    python tests/cuda/budget.py          compile all and write budget.json anew: look at the difference before you commit it

Kernels are those that the training steps of ``NETWORKS`` are planned with, and ``MORE``.
"""

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("budget.json")
ARCHITECTURES = ("sm_80", "sm_90")

#: network -> image size, channels, batch size
NETWORKS = {"lenet5": (32, 1, 256), "resnet20": (32, 3, 512)}

#: kernel -> instructions that it must have, where the constants that are named are so
INSTRUCTIONS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("pointwise", {"width": 4}, ("LDG.E.128", "STG.E.128")),
]


def kernels() -> dict[str, Any]:
    """The kernels, by label."""
    import numbaconv as nc
    import numbaconv.functional as F
    from numbaconv.kernels import device
    from numbaconv.kernels.cuda.emulated import EmulatedGpu
    from numbaconv.ops import Spec
    from numbaconv.training import Augmentation
    from numbaconv.training.step import EvalStep, TrainStep

    found: dict[str, Any] = {}
    with device.use(EmulatedGpu()):
        for name, (size, channels, batch) in NETWORKS.items():
            model = nc.models.build(name, in_channels=channels, num_classes=10)
            data = Spec((1024, channels, size, size), np.dtype(np.uint8)), Spec((1024,), np.dtype(np.int64))
            how = {"mean": (0.5,) * channels, "std": (0.25,) * channels, "device": "cuda"}
            optimizer = nc.optim.SGD(lr=0.1, momentum=0.9)
            augmentation = Augmentation(shift=2, flip=True)
            train = TrainStep(model, F.cross_entropy, optimizer, batch, *data, augmentation=augmentation, **how)
            steps = [train, EvalStep(model, F.cross_entropy, batch, *data, **how)]
            found |= {s.kernel.label: s.kernel for step in steps for s in step.executable.plan.steps}
    return dict(sorted(found.items()))


def compiled(kernel: Any, architecture: str) -> tuple[int, int, bytes]:
    """Registers a thread, bytes of spills and stack, and the cubin."""
    _, code, report = kernel.on(architecture).build()
    registers = re.search(r"Used (\d+) registers", report)
    spills = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", report)
    assert registers is not None and spills, f"{kernel.label}: no report of ptxas: {report}"
    return int(registers[1]), sum(map(int, spills)), code


def instructions(code: bytes, folder: Path) -> set[str]:
    """The instructions in a cubin, with their modifiers."""
    file = folder / "kernel.cubin"
    file.write_bytes(code)
    text = subprocess.run([disassembler(), "-c", str(file)], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", text, re.MULTILINE))


def disassembler() -> str:
    """The path of nvdisasm, which the package nvidia-cuda-nvdisasm brings."""
    found = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin/nvdisasm*"))
    return str(found[0]) if found else "nvdisasm"


def wanted(kernel: Any) -> tuple[str, ...]:
    """The instructions that a kernel must have."""
    constants = dict(kernel.constants)
    name = kernel.kernel.make.__qualname__
    return tuple(
        word
        for which, given, words in INSTRUCTIONS
        if which == name and all(constants.get(key) == value for key, value in given.items())
        for word in words
    )


def main() -> None:
    budget = {}
    for label, kernel in kernels().items():
        budget[label] = {a: compiled(kernel, a)[0] for a in ARCHITECTURES}
        print(label, budget[label], file=sys.stderr)
    FILE.write_text(json.dumps(budget, indent=1) + "\n")


if __name__ == "__main__":
    main()
