"""``numbaconv info``: what this machine and this installation offer."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import click

from . import console, options

_PACKAGES = ("numbaconv", "numba", "llvmlite", "numpy")

# package -> (module to look for, what it is good for); pip install PACKAGE brings each
_OPTIONAL = {
    "matplotlib": ("matplotlib", "curves.png, confusion.png and bench conv --plot"),
    "pillow": ("PIL", "reading PNG and JPEG in predict"),
    "torch": ("torch", "bench --against torch"),
    "onnxruntime": ("onnxruntime", "bench infer --against onnxruntime"),
    "tbb": ("tbb", "threads that several callers may share"),
}


@click.command("info")
@options.JSON
def command(as_json: bool) -> None:
    """Show versions, CPU, threads and kernel cache, and what is missing and how to get it."""
    facts = _facts()
    if as_json:
        console.print_json(facts)
        return
    cpu, threads, cache = facts["cpu"], facts["threads"], facts["cache"]
    kept = f"{console.plural(cache['files'], 'file')}, {console.size(cache['bytes'])}"
    rows = {
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "system": facts["system"],
        "CPU": f"{cpu['name']} ({cpu['llvm_name']})",
        "instructions": f"{cpu['instruction_set']}, {cpu['float32_lanes']} float32 lanes",
        "threads": f"{threads['count']} (of {threads['cpus']} CPUs), threading layer {threads['layer']}",
        "kernel cache": f"{cache['folder']} ({kept})" if cache["folder"] else "none: no folder can be written",
        "CUDA": _in_words(facts["cuda"]),
    }
    for name, value in rows.items():
        click.echo(f"{name:<12}  {value}")
    for name, missing in facts["missing"].items():
        click.echo(f"{'missing':<12}  {name}, for {missing['for']}: {missing['install']}")


def _facts() -> dict[str, Any]:
    from numbaconv.kernels.cpu import native, target

    name, features = target.cpu()
    instructions = target.instruction_set()
    folder = native.cache_folder()
    files = [path for path in folder.iterdir() if path.is_file()] if folder else []
    return {
        "versions": {
            "Python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
        "system": platform.platform(),
        "cpu": {
            "name": _processor(),
            "llvm_name": name,
            "instruction_set": instructions,
            "float32_lanes": target.LANES,
            "features": [feature[1:] for feature in features.split(",") if feature.startswith("+")],
        },
        "threads": _threads(),
        "cache": {"folder": folder, "files": len(files), "bytes": sum(path.stat().st_size for path in files)},
        "cuda": _cuda(),
        "missing": {
            package: {"for": purpose, "install": f"pip install {package}"}
            for package, (module, purpose) in _OPTIONAL.items()
            if importlib.util.find_spec(module) is None
        },
    }


def _cuda() -> dict[str, Any]:
    """Return what the CUDA engine finds, and what it lacks."""
    from numbaconv.kernels.cuda_state import state

    problem, found = state()
    return {"usable": problem is None, **({} if problem is None else {"problem": problem}), **found}


def _in_words(cuda: dict[str, Any]) -> str:
    if not cuda["usable"]:
        return f"not usable: {cuda['problem']}"
    return f"{cuda['gpu']} ({cuda['architecture']}), driver for {cuda['driver']}, numba-cuda {cuda['numba-cuda']}"


def _threads() -> dict[str, Any]:
    """Return how many threads kernels use and by which library; starts them, since only then Numba knows."""
    import numba
    from numba.np.ufunc.parallel import _launch_threads

    _launch_threads()
    return {"count": numba.get_num_threads(), "cpus": os.cpu_count(), "layer": numba.threading_layer()}


def _processor() -> str:
    """Return the name of the CPU as it is sold."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
