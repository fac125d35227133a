"""``nc.compile``: a function or a model traced once for each set of shapes, then replayed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .graph import Executable, Graph, compile_graph
from .graph.autodiff import flatten_tree, form_of
from .kernels.device import DeviceArray, driver_for, is_on_device


def compile(f: Callable, freeze: bool = False, device: str = "cpu", precision: str = "fp32") -> Callable:
    """``f`` without tracing at every call: for each set of shapes and dtypes it is traced and planned once.

    What ``f`` reads besides its arguments (parameters, as arrays, by reference) may change in value; Python's control
    flow in it is fixed at the first call.  With ``freeze`` these values, too, are those of the first call with the
    shapes at hand: for inference, where filters are then packed and transformed only once.

    With ``device="cuda"`` it runs on the GPU and returns arrays there (``nc.to_host`` and ``np.asarray`` copy them
    back); arguments may be such arrays, or other libraries' arrays on the GPU, which are read where they are.
    ``precision`` is then that of convolutions' and fully connected layers' products: "fp32", or on tensor cores "tf32"
    (relative errors below 1e-3), "bf16" or "fp16" (1e-2; images between layers are then kept in 2 bytes, too).
    Parameters and all sums are float32 either way.

    Raises ValueError for a device or precision that there is not, DeviceError for a device that cannot be used.
    """
    known: dict[tuple, tuple[Executable, Callable]] = {}

    def replay(*args: Any) -> Any:
        arrays: Sequence[Any]
        rebuild: Callable
        if all([type(a) is np.ndarray for a in args]):  # nothing to take apart, which takes 1 µs
            arrays, rebuild, form = args, tuple, None
        else:
            leaves, rebuild = flatten_tree(args)
            arrays, form = [_as_array(leaf, device) for leaf in leaves], form_of(args)
        key = (form, *[(a.shape, a.dtype) for a in arrays])
        found = known.get(key)
        if found is None:
            graph = Graph()
            results, rebuild_results = flatten_tree(f(*rebuild([graph.input(a.shape, a.dtype) for a in arrays])))
            graph.output(*results)
            found = known[key] = compile_graph(graph, None, freeze, device, precision), rebuild_results
        executable, rebuild_results = found
        return rebuild_results(executable.run(arrays))

    return replay


def _as_array(value: Any, device: str) -> Any:
    """An array of the host, or one that is on the device already."""
    if device != "cpu" and is_on_device(value):
        return DeviceArray.of(driver_for(device), value)
    return np.asarray(value)
