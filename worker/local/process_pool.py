"""Children that work off tasks side by side; one that dies takes no task with it."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeAlias

from shared.errors import WorkerCrashed
from worker.local.process import PhotoResult, PhotoTask, RunSpec, failed, initialize_process, process_photo

#: Orders handed out for each child: one in work and one to go on with. When a child dies, no
#: more than these have to be tried again.
_IN_FLIGHT = 2

_CRASHED = "The picture crashed the process that worked on it, twice, and was given up."

_Running: TypeAlias = "dict[Future[PhotoResult], PhotoTask]"


class ProcessPool:
    """Runs tasks on a number of processes."""

    def __init__(self, spec: RunSpec, *, processes: int) -> None:
        self._spec = spec
        self._processes = processes

    def run(self, tasks: Iterable[PhotoTask]) -> Iterator[PhotoResult]:
        """Yield a result for every task, in the order they end, whatever becomes of the children.

        Raises ModelError or SettingsError if a child has no network.
        """
        waiting = deque(tasks)
        while waiting:
            suspects = yield from self._run_together(waiting)
            # Which photo killed the child is not known: those in flight are tried one by one.
            for task in suspects:
                yield self._run_alone(task)

    def _run_together(self, waiting: deque[PhotoTask]) -> Generator[PhotoResult, None, list[PhotoTask]]:
        """Work `waiting` off; end early, returning the tasks in flight, if a child dies."""
        suspects: list[PhotoTask] = []
        running: _Running = {}
        with self._pool(self._processes) as pool:
            while not suspects:
                self._hand_out(pool, waiting, running)
                if not running:
                    break
                ended = wait(running, return_when=FIRST_COMPLETED).done
                yield from _collect({future: running.pop(future) for future in ended}, suspects)
            # A pool that broke has ended all its futures, some of them well.
            yield from _collect(running, suspects)
        return suspects

    def _hand_out(self, pool: ProcessPoolExecutor, waiting: deque[PhotoTask], running: _Running) -> None:
        while waiting and len(running) < self._processes * _IN_FLIGHT:
            try:
                running[pool.submit(process_photo, waiting[0])] = waiting[0]
            except BrokenProcessPool:
                # What is in flight tells; with nothing in flight, the next pool goes on.
                return
            waiting.popleft()

    def _run_alone(self, task: PhotoTask) -> PhotoResult:
        with self._pool(1) as pool:
            try:
                return pool.submit(process_photo, task).result()
            except BrokenProcessPool:
                return failed(task, WorkerCrashed(_CRASHED))

    def _pool(self, processes: int) -> ProcessPoolExecutor:
        # One thread a process, as there is one process a core. NumPy's matrix products read this
        # once, when a child imports them.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # Spawned, not forked: the inference engines start threads, which a fork does not copy.
        return ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=initialize_process,
            initargs=(self._spec,),
        )


def _collect(ended: _Running, suspects: list[PhotoTask]) -> Iterator[PhotoResult]:
    """Yield the results of `ended`; tasks whose child died are added to `suspects`."""
    for future, task in ended.items():
        try:
            yield future.result()
        except BrokenProcessPool:
            suspects.append(task)
