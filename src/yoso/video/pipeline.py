"""Stages that work at the same time: each in a thread of its own, with short queues between them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

QUEUE_LENGTH = 3
"""Frames that wait between two stages."""

JOIN_SECONDS = 5.0


class Stage(NamedTuple):
    """One step of the work on a frame.

    Attributes:
        name: in the table of stages.
        work: called with one item at a time, in order; what it returns goes to the next stage.
    """

    name: str
    work: Callable[[Any], Any]


@dataclass
class StageTime:
    """How long a stage worked.

    Attributes:
        seconds: without waiting for others.
        num_items: that it finished.
    """

    seconds: float = 0.0
    num_items: int = 0

    @property
    def milliseconds(self) -> float:
        """Mean per item."""
        return 1000 * self.seconds / max(self.num_items, 1)


class _ClosedError(Exception):
    """The other end of a queue does not want more."""


class _StageFailure(NamedTuple):
    error: BaseException


_END = object()


class _Queue:
    """A bounded queue that both ends can close."""

    def __init__(self, length: int) -> None:
        self._items: deque[Any] = deque()
        self._length = length
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Any) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._length)
            if self._closed:
                raise _ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items)
            if self._closed:
                raise _ClosedError
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


class Pipeline(Generic[T]):
    """Passes items through stages that overlap, and yields them in order. Use it as a context manager.

    An error of any stage is raised to the reader after the items before it. Closing ends all threads.

    Attributes:
        times: by name of the stage, the first of which reads the items.
    """

    def __init__(self, items: Iterable[T], stages: list[Stage], reading: str = "decode", eager: bool = True) -> None:
        """Start no thread yet.

        Args:
            items: what to work on; iterated in a thread.
            stages: at least one; applied one after the other.
            reading: name of the step that reads the items.
            eager: read ahead; False reads an item when the first stage is free for it, as live sources need it.
        """
        self.times = {name: StageTime() for name in (reading, *(stage.name for stage in stages))}
        self._queues = [_Queue(QUEUE_LENGTH if eager else 1) for _ in range(len(stages) + eager)]
        reader = self._timed_items(iter(items), self.times[reading])
        self._threads = []
        if eager:
            self._add_thread(reading, reader, self._queues[0])
        for number, stage in enumerate(stages):
            source = self._from_queue(self._queues[number - (not eager)]) if number or eager else reader
            self._add_thread(stage.name, self._worked(source, stage), self._queues[number + eager])

    def _add_thread(self, name: str, items: Iterator[Any], queue: _Queue) -> None:
        self._threads.append(threading.Thread(target=_fill, args=(items, queue), name=f"yoso-{name}", daemon=True))

    @staticmethod
    def _timed_items(items: Iterator[Any], time_of: StageTime) -> Iterator[Any]:
        while True:
            begin = time.perf_counter()
            item = next(items, _END)
            if item is _END:
                return
            time_of.seconds += time.perf_counter() - begin
            time_of.num_items += 1
            yield item

    @staticmethod
    def _from_queue(queue: _Queue) -> Iterator[Any]:
        while (item := queue.get()) is not _END:
            if isinstance(item, _StageFailure):
                raise item.error
            yield item

    def _worked(self, items: Iterator[Any], stage: Stage) -> Iterator[Any]:
        time_of = self.times[stage.name]
        for item in items:
            begin = time.perf_counter()
            done = stage.work(item)
            time_of.seconds += time.perf_counter() - begin
            time_of.num_items += 1
            yield done

    def __iter__(self) -> Iterator[T]:
        """Yield what the last stage returns; start the threads."""
        for thread in self._threads:
            thread.start()
        yield from self._from_queue(self._queues[-1])

    def close(self) -> None:
        """End all threads; items that are not finished are dropped."""
        for queue in self._queues:
            queue.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_SECONDS)

    def __enter__(self) -> "Pipeline[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fill(items: Iterator[Any], queue: _Queue) -> None:
    """Put everything into a queue, then the end or the error."""
    try:
        try:
            for item in items:
                queue.put(item)
            queue.put(_END)
        except _ClosedError:
            raise
        except BaseException as error:
            queue.put(_StageFailure(error))
    except _ClosedError:
        return
