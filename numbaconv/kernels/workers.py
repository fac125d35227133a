"""Compiling many kernels at once: this process and helpers, one a CPU, take them from one queue and fill the cache.

A helper is a Python process that reads requests, one JSON line each, and answers when the object file is written.
Whatever a helper cannot do is compiled here when it is needed.
"""

import collections
import contextlib
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .cache import cache_folder
from .factory import Kernel


class Compilable(Protocol):
    """What can be compiled here or by a helper."""

    @property
    def label(self) -> str: ...

    def is_ready(self) -> bool:
        """Whether ``prepare`` compiles nothing."""

    def prepare(self) -> Any:
        """Compile, and fill the cache."""

    def request(self) -> dict[str, Any]:
        """What a helper needs to know; its ``architecture`` is that of other processors than this one."""


#: Called as on_compile(done, total, name) while kernels are compiled that are not in the cache.
OnCompile = Callable[[int, int, str], None]


def compile_kernels(kernels: Iterable[Compilable], on_compile: OnCompile | None = None) -> int:
    """Bring into the cache what is not there yet; gives how many that were."""
    missing = {kernel.label: kernel for kernel in kernels if not kernel.is_ready()}
    if not missing:
        return 0
    queue = collections.deque(missing.values())
    done = 0
    report_lock = threading.Lock()

    def report(name: str, count: int) -> None:
        nonlocal done
        with report_lock:
            done += count
            if on_compile is not None:
                on_compile(done, len(missing), name)

    report(queue[0].label, 0)
    helpers = min(len(missing) // 2, available_cpus() - 1) if cache_folder() is not None else 0
    processes: list[subprocess.Popen] = []
    threads: list[threading.Thread] = []
    try:
        for _ in range(helpers):
            process = _start_helper()
            processes.append(process)
            threads.append(threading.Thread(target=_feed, args=(process, queue, report), daemon=True))
            threads[-1].start()
        while queue:
            try:
                kernel = queue.popleft()
            except IndexError:
                break
            kernel.prepare()
            report(kernel.label, 1)
        for thread in threads:
            thread.join()
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for process, thread in zip(processes, threads, strict=False):
            thread.join()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what a killed helper did not read
                    assert pipe is not None
                    pipe.close()
    return len(missing)


def available_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_helper() -> subprocess.Popen:
    root = os.path.dirname(importlib.import_module(__package__.split(".")[0]).__path__[0])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    )


def _feed(process: subprocess.Popen, queue: collections.deque, report: Callable[[str, int], None]) -> None:
    assert process.stdin is not None and process.stdout is not None
    while True:
        try:
            kernel = queue.popleft()
        except IndexError:
            return
        try:
            process.stdin.write(json.dumps(kernel.request()) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:  # the helper has died; the others and this process do its work
            queue.append(kernel)
            return
        report(kernel.label, 1)


def _with_tuples(value: Any) -> Any:
    """What JSON has made lists of as tuples again."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def serve() -> None:
    """A helper's life: requests on standard input until it closes."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            found = getattr(importlib.import_module(request["module"]), request["name"])
            assert isinstance(found, Kernel)
            constants = {name: _with_tuples(value) for name, value in request["constants"].items()}
            for home in constants.get("homes", ()):
                importlib.import_module(home)
            made = found(request["dtype"], **constants)
            architecture = request.get("architecture")
            (made if architecture is None else made.on(architecture)).compiled()
            print("done", flush=True)
        except Exception:  # the asking process compiles it itself and sees the error
            print("failed", flush=True)
