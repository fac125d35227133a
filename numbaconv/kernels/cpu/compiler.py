"""How Numba compiles a kernel: its helpers become part of it before anything is optimised.

Numba optimises every function, makes machine code of it with a wrapper for Python, and then inlines and optimises it
again in whatever calls it; a kernel is made of five to twenty functions.  Here helpers stay as they were lowered, and
the whole is optimised once.  Loops of a length that is known at run time alone are not unrolled: those that matter fill
the registers already, and of others LLVM's table for Zen 5 makes up to 32 copies, which short runs never reach.
"""

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, from_dtype, types
from numba.core import cgutils
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler
from numba.core.registry import CPUDispatcher
from numba.extending import intrinsic

from ..annotations import Ints, Pointer, Pointers

_WORD = "void(CPointer(int64), int64, int64)"

# ------------------------------------------------------------------------------------------------ what Numba is told


class _Codegen(JITCPUCodegen):
    """Numba's, without Python objects."""

    def set_env(self, env_name, env):
        """Nothing: kernels raise no exceptions, whose objects an environment holds."""


@functools.cache
def _codegen() -> _Codegen:
    return _Codegen("numbaconv.kernels")


def forbid_unrolling(module: ir.Module, branch: ir.Instruction, runtime_only: bool = False) -> None:
    """Mark the loop that ``branch`` closes; with ``runtime_only`` it may be copied where its length is a constant."""
    name = "llvm.loop.unroll.runtime.disable" if runtime_only else "llvm.loop.unroll.disable"
    flag = module.add_metadata([ir.MetaDataString(module, name)])
    loop = module.add_metadata([flag, ir.MetaDataString(module, f"numbaconv.loop.{len(module.metadata)}")])
    loop.operands = (loop, flag)
    branch.set_metadata("llvm.loop", loop)


def _forbid_unrolling_in(function: ir.Function) -> None:
    passed = set()
    for block in function.blocks:  # in the order of the source, so a loop's branch leads back
        passed.add(block)
        branch = block.terminator
        if branch is None or branch.opname != "br" or "llvm.loop" in branch.metadata:
            continue
        if any(target in passed for target in branch.operands if isinstance(target, ir.Block)):
            forbid_unrolling(function.module, branch, runtime_only=True)


class _Part(JITCodeLibrary):
    """The code of a helper: linked into what calls it, neither optimised nor made machine code by itself."""

    def add_ir_module(self, ir_module):
        for function in ir_module.functions:
            _forbid_unrolling_in(function)
        super().add_ir_module(ir_module)

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalized = True

    def get_pointer_to_function(self, name):
        self._ensure_finalized()
        return 0


class _PartCompiler(Compiler):
    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        super().__init__(typingctx, targetctx, _Part(_codegen(), "part"), args, return_type, flags, locals)


class _WholeCompiler(Compiler):
    def __init__(self, typingctx, targetctx, library, *others):
        whole = JITCodeLibrary(_codegen(), "kernel")
        whole.enable_object_caching()
        super().__init__(typingctx, targetctx, whole, *others)


class _Inline(CPUDispatcher):
    def add_overload(self, cres):
        self.overloads[tuple(cres.signature.args)] = cres  # there is nothing that Python could call

    def __call__(self, *arguments, **keywords):
        return self.py_func(*arguments, **keywords)


def inline(function: Callable, **options: Any) -> Callable:
    """Decorator of a function for use in kernels, as ``numba.njit``, but compiled as a part of each kernel alone."""
    options = {"nopython": True, "error_model": "numpy", **options}
    return _Inline(function, targetoptions=options, pipeline_class=_PartCompiler)


#: What ``numba.extending.overload`` compiles implementations with, so that they become parts of kernels, too.
OVERLOAD = {"error_model": "numpy", "pipeline_class": _PartCompiler}


# ------------------------------------------------------------------------------------------------ kernels


def _numba_types(loop: Callable, dtype: np.dtype):
    """Numba's types of a loop's arguments after begin and end."""
    found = []
    for parameter in list(inspect.signature(loop).parameters.values())[2:]:
        kind = parameter.annotation
        if kind is Pointer:
            found.append(types.CPointer(from_dtype(dtype)))
        elif isinstance(kind, Pointer):
            found.append(types.CPointer(from_dtype(np.dtype(kind.dtype))))
        elif isinstance(kind, Ints):
            found.append(types.UniTuple(types.int64, kind.count))
        elif isinstance(kind, Pointers):
            found.append(types.UniTuple(types.CPointer(from_dtype(dtype)), kind.count))
        elif kind is float:
            found.append(types.float64)
        elif kind is int:
            found.append(types.int64)
        else:
            raise TypeError(f"kernel argument {parameter.name!r} needs the annotation Pointer, int or float")
    return found


def _unpacker(argument_types):
    """An intrinsic that reads typed arguments from a row of 64-bit words."""
    @intrinsic
    def unpack(typingctx, words):
        def codegen(context, builder, signature, arguments):
            position = itertools.count()

            def argument(kind):
                if isinstance(kind, types.UniTuple):
                    return cgutils.pack_array(builder, [argument(kind.dtype) for _ in range(kind.count)])
                word = builder.load(builder.gep(arguments[0], [ir.Constant(ir.IntType(64), next(position))]))
                if isinstance(kind, types.CPointer):
                    return builder.inttoptr(word, context.get_value_type(kind))
                return builder.bitcast(word, ir.DoubleType()) if kind == types.float64 else word

            values = [argument(kind) for kind in argument_types]
            return cgutils.pack_struct(builder, values) if values else context.get_dummy_value()

        return types.Tuple(argument_types)(words), codegen

    return unpack


def build(make: Callable, dtype: np.dtype, constants: dict) -> Any:
    """Compile one loop with its entry; gives Numba's compiled function."""
    loop = make(dtype, **constants)
    unpack = _unpacker(_numba_types(loop, dtype))
    body = inline(loop, fastmath={"contract", "nsz"})

    def entry(words, begin, end):
        body(begin, end, *unpack(words))

    return cfunc(_WORD, error_model="numpy", pipeline_class=_WholeCompiler)(entry)


def compile(make: Callable, dtype: np.dtype, constants: dict) -> tuple[str, bytes]:
    """Compile one loop; gives the symbol of its entry and the object file."""
    compiled = build(make, dtype, constants)
    return compiled._wrapper_name, compiled._library._get_compiled_object()
