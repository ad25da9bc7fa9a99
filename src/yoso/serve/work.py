"""The queue between requests and the threads that segment: bounded, with a deadline per job."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from yoso.serve.metrics import Metrics
from yoso.serve.problems import busy

T = TypeVar("T")

SMOOTHING = 0.2
"""Weight of the newest job in the mean duration that Retry-After is computed from."""


@dataclass(eq=False)
class PendingWork:
    """One image to segment.

    Attributes:
        work: does it, in one of the threads.
        future: receives the result, in the event loop.
        loop: of the future.
        queued: when it was queued.
        is_abandoned: nobody waits for it any more.
    """

    work: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    queued: float
    is_abandoned: bool = False

    def settle(self, result: Any, error: BaseException | None) -> None:
        """Hand over the result or the error, from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class WorkQueue:
    """Runs jobs in threads, first come, first served. Jobs that nobody waits for any more are never started."""

    def __init__(self, threads: int, length: int, metrics: Metrics) -> None:
        """Make the queue; `start` makes the threads.

        Args:
            threads: jobs that run at the same time.
            length: maximum number of jobs that wait.
            metrics: to record in.
        """
        self._length = length
        self._metrics = metrics
        self._jobs: deque[PendingWork] = deque()
        self._changed = threading.Condition()
        self._num_running = 0
        self._mean_seconds = 0.1
        self._is_draining = False
        self._threads = [
            threading.Thread(target=self._work, name=f"yoso-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    @property
    def is_draining(self) -> bool:
        """Say whether new jobs are refused."""
        return self._is_draining

    def drain(self) -> None:
        """Refuse new jobs from now on; accepted ones are finished, and then the threads end."""
        with self._changed:
            self._is_draining = True
            self._changed.notify_all()

    def join(self, seconds: float | int) -> None:
        """Wait for the threads to end after `drain`, for at most this long."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))

    async def run(self, work: Callable[[], T], seconds: float | int) -> T:
        """Run a job in one of the threads, and return its result.

        If the caller is cancelled, the job leaves the queue.

        Args:
            work: the job.
            seconds: from now on in which it must be finished.

        Raises:
            Problem: the queue is full or draining, or the time is over.
        """
        loop = asyncio.get_running_loop()
        job = PendingWork(work, loop.create_future(), loop, time.monotonic())
        self._append(job)
        try:
            async with asyncio.timeout(seconds):
                return await job.future
        except TimeoutError:
            detail = f"the request was not finished within {seconds:g} seconds; try again later"
            raise busy("deadline-exceeded", detail, self._retry_seconds()) from None
        finally:
            self._abandon(job)

    def _append(self, job: PendingWork) -> None:
        with self._changed:
            if self._is_draining:
                raise busy("draining", "the server is shutting down; use another one")
            if len(self._jobs) >= self._length:
                detail = f"{self._length} images wait already; try again later"
                raise busy("queue-full", detail, self._retry_seconds())
            self._jobs.append(job)
            self._metrics.queue_depth.set(len(self._jobs))
            self._changed.notify()

    def _abandon(self, job: PendingWork) -> None:
        job.is_abandoned = True
        with self._changed, suppress(ValueError):
            self._jobs.remove(job)
            self._metrics.queue_depth.set(len(self._jobs))

    def _retry_seconds(self) -> int:
        """Return how long the present jobs take, in whole seconds, at least 1 and at most 60."""
        waiting = (len(self._jobs) + self._num_running) * self._mean_seconds / max(1, len(self._threads))
        return min(60, max(1, round(waiting)))

    def _take(self) -> PendingWork | None:
        """Wait for a job; None if there will be none any more."""
        with self._changed:
            while not self._jobs:
                if self._is_draining:
                    return None
                self._changed.wait()
            job = self._jobs.popleft()
            self._num_running += 1
            self._metrics.queue_depth.set(len(self._jobs))
            return job

    def _work(self) -> None:
        while (job := self._take()) is not None:
            start = time.monotonic()
            if not job.is_abandoned:
                self._metrics.stage("queue", start - job.queued)
                try:
                    job.settle(job.work(), None)
                except BaseException as error:  # the thread must live, whatever a job raises
                    job.settle(None, error)
            with self._changed:
                self._num_running -= 1
                self._mean_seconds += SMOOTHING * (time.monotonic() - start - self._mean_seconds)
            del job
