"""The one parallel loop: threads take micro-batches through the steps of a program.

A program is a list of phases; the threads meet only between phases.  In a phase, tasks = groups x chunks are dealt to
the threads.  A task takes the micro-batches ("blocks") of its group, one after another, through all steps of the
phase: depth first, so that a block's activations are still in the cache when the next step reads them.  With
chunks > 1 each step's units are also cut, which keeps threads busy where there are fewer groups than threads.

Groups are a fixed partition of the batch, independent of the number of threads, and each has its own partial sums:
results are the same bits for any number of threads.

Tables (int64):
    phases     first step, last step, blocks, groups, chunks, 1 if parallel
    steps      entry's address, first operand, operands, first constant, constants, units
    operands   base address, bytes a block, bytes a group, bytes a thread
    constants  integer and floating-point arguments as 64-bit words
    program    addresses of phases, steps, operands, constants and of the threads' words, and the number of phases
A kernel receives: its block, whether the block is the first of its group, operand addresses, constants.
"""

import ctypes
import functools
import os
import threading
from collections.abc import Callable

import numpy as np

from . import native

WORDS = 128  # arguments of one step at the most


def _make_run():
    from llvmlite import ir
    from numba import get_thread_id, njit, prange, types
    from numba.extending import intrinsic

    @intrinsic
    def call(typingctx, address, words, begin, end):
        def codegen(context, builder, signature, arguments):
            i64 = ir.IntType(64)
            entry = ir.FunctionType(ir.VoidType(), [i64.as_pointer(), i64, i64]).as_pointer()
            builder.call(builder.inttoptr(arguments[0], entry), arguments[1:])
            return context.get_dummy_value()

        return types.void(types.int64, words, types.int64, types.int64), codegen

    @intrinsic
    def advance(typingctx, pointer, index):
        return pointer(pointer, types.int64), lambda context, builder, signature, a: builder.gep(a[0], [a[1]])

    @intrinsic
    def pointer(typingctx, address):
        word = types.CPointer(types.int64)
        return word(address), lambda context, builder, signature, a: builder.inttoptr(a[0], ir.IntType(64).as_pointer())

    @njit(error_model="numpy")
    def run_task(phase, task, steps, operands, constants, scratch):
        first_step, last_step, blocks, groups, chunks = phase[0], phase[1], phase[2], phase[3], phase[4]
        group = task // chunks
        chunk = task - group * chunks
        thread = get_thread_id()
        words = advance(scratch, thread * WORDS)
        first_block = group * blocks // groups
        for block in range(first_block, (group + 1) * blocks // groups):
            words[0] = block
            words[1] = 1 if block == first_block else 0
            for s in range(first_step, last_step):
                step = advance(steps, s * 6)
                n = step[2]
                for i in range(n):
                    o = advance(operands, (step[1] + i) * 4)
                    words[2 + i] = o[0] + block * o[1] + group * o[2] + thread * o[3]
                for i in range(step[4]):
                    words[2 + n + i] = constants[step[3] + i]
                begin = step[5] * chunk // chunks
                end = step[5] * (chunk + 1) // chunks
                if begin < end:
                    call(step[0], words, begin, end)

    def run(program):
        phases, steps, operands = pointer(program[0]), pointer(program[1]), pointer(program[2])
        constants, scratch = pointer(program[3]), pointer(program[4])
        for p in range(program[5]):
            phase = advance(phases, p * 6)
            tasks = phase[3] * phase[4]
            if phase[5]:
                for task in prange(tasks):
                    run_task(phase, task, steps, operands, constants, scratch)
            else:
                for task in range(tasks):
                    run_task(phase, task, steps, operands, constants, scratch)

    return run


def _compile_run() -> tuple[str, bytes]:
    from numba import cfunc

    compiled = cfunc("void(CPointer(int64))", error_model="numpy", parallel=True)(_make_run())
    return compiled._wrapper_name, compiled._library._get_compiled_object()


@functools.cache
def _run():
    """The compiled loop, as a function of a program's address; releases the GIL."""
    _start_threads()
    folder = native.cache_folder()
    path = None if folder is None else folder / f"run-{native.digest_for(__file__)}.o"
    address = native.link(*native.load_or_compile(path, _compile_run))
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)  # one argument: six would take 0.4 µs longer


_has_started = _was_forked = False
_running = threading.Lock()

#: How long an OpenMP thread spins for work before it sleeps (GNU OpenMP's unit, a few nanoseconds).  Its default is
#: milliseconds: on a busy machine each meeting of threads then waits for a time slice of the scheduler.
SPIN_COUNT = "2000"


@functools.cache
def _start_threads() -> None:
    global _has_started
    from numba.np.ufunc.parallel import _launch_threads

    # GNU OpenMP reads the variable when it is loaded; afterwards it is put back for other libraries' sake.
    ours = not any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))
    if ours:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    try:
        _launch_threads()
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]
    _has_started = True


def _in_forked_child() -> None:
    global _was_forked
    _was_forked = _has_started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


def get_threads() -> int:
    """Threads that runs use now: Numba's setting, at most the CPUs this process may use."""
    from numba import get_num_threads

    _start_threads()
    return get_num_threads()


def set_threads(count: int) -> None:
    """Use ``count`` threads from now on, at most ``max_threads()``."""
    from numba import set_num_threads

    if not 1 <= count <= max_threads():
        raise ValueError(f"threads must lie between 1 and {max_threads()}, not {count}")
    _start_threads()
    set_num_threads(count)


def max_threads() -> int:
    from numba import config

    return config.NUMBA_NUM_THREADS


def prepare(phases, steps, operands, constants, scratch) -> Callable[[], None]:
    """A function that runs the program once; one program at a time in a process."""
    function = _run()
    tables = (phases, steps, operands, constants, scratch)
    program = np.array([*(table.ctypes.data for table in tables), len(phases)], np.int64)
    address = program.ctypes.data

    def call(held=(program, *tables)) -> None:  # for their memory
        if _was_forked:
            raise RuntimeError(
                "numbaconv ran before this process was forked, and its threads do not survive a fork; "
                "start processes with multiprocessing's 'spawn' or 'forkserver' method"
            )
        with _running:
            function(address)

    return call
