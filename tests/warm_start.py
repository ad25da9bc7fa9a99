"""Processes of their own for tests, without the time that packages take to load.

multiprocessing's "forkserver" loads them once, in a process that does nothing else, and forks it for each start.
"""

import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

SECONDS = 240
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["yoso.training.run", "yoso.apps.train"])


def begin(output: Path, target: Callable[..., int | None], *arguments: object) -> BaseProcess:
    """Call a function in a process that has this one's environment and threads; it prints into a file.

    Args:
        output: the file.
        target: a function of a module; what it returns is the process's exit status.
        arguments: of the function.
    """
    _load_packages()
    here = (dict(os.environ), torch.get_num_threads(), multiprocessing.get_start_method())
    process = WARM.Process(target=_call, args=(output, here, target, arguments))
    process.start()
    return process


@functools.cache
def _load_packages() -> None:
    first = WARM.Process(target=int)
    first.start()
    first.join()


def _call(output, here, target, arguments):
    environment, threads, start_method = here
    multiprocessing.set_start_method(start_method, force=True)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    with output.open("w", buffering=1) as stream, redirect_stdout(stream), redirect_stderr(stream):
        status = target(*arguments)
    sys.exit(status)


def wait_for(condition: Callable[[], bool], process: BaseProcess) -> None:
    """Wait until something is so; a process that ends before, or takes long, fails the test."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.is_alive(), f"ended with {process.exitcode}"
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.01)


def ended(process: BaseProcess) -> int:
    """Return the exit status of a process, once it ends; it is killed if it does not."""
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode
