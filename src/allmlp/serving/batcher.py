"""Images of many requests go through the model together."""

# axes: c channels, h w pixels, b images, k classes

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Answer = NDArray[np.float32]  # k


class Batcher:
    """One thread that takes whatever has gathered while it was busy, at most `most` images, and answers it at once.

    Nothing waits for company: one client alone has no delay, and many fill the batches by themselves.
    answer: b c h w → b k. counted: told how many images each batch had.
    """

    def __init__(
        self, answer: Callable[[Tensor], NDArray[np.float32]], *, most: int, counted: Callable[[int], None] = lambda _: None
    ) -> None:
        self.answer, self.most, self.counted = answer, most, counted
        self.waiting: deque[tuple[Tensor, asyncio.Future[Answer]]] = deque()
        self.working, self.lock = False, Lock()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="allmlp-engine")

    async def ask(self, images: Sequence[Tensor]) -> list[Answer]:  # of c h w each
        """The answer to each image. Raises what the model raises; an image whose request was cancelled is passed over."""
        loop = asyncio.get_running_loop()
        asked = [(image, loop.create_future()) for image in images]
        with self.lock:
            self.waiting.extend(asked)
            starts, self.working = not self.working, True
        if starts:
            self.thread.submit(self._work)
        return await asyncio.gather(*(future for _, future in asked))

    def close(self) -> None:
        """End the thread when it is done with what waits."""
        self.thread.shutdown(wait=False)

    def _work(self) -> None:
        """In the thread, until nothing waits."""
        while taken := self._taken():
            try:
                answers = self.answer(torch.stack([image for image, _ in taken]))
            except BaseException as error:  # whoever asked is told, and the next batch is another one
                _tell(taken, _failed, error)
            else:
                self.counted(len(taken))
                _tell(taken, _answered, answers)

    def _taken(self) -> list[tuple[Tensor, "asyncio.Future[Answer]"]]:
        taken: list[tuple[Tensor, asyncio.Future[Answer]]] = []
        with self.lock:
            while self.waiting and len(taken) < self.most:
                image, future = self.waiting.popleft()
                if not future.done():
                    taken.append((image, future))
            self.working = bool(taken)
        return taken


def _tell(taken: list[tuple[Tensor, "asyncio.Future[Answer]"]], how: Callable[[Any, Any], None], what: Any) -> None:
    """In the loop of whoever asked; where that has ended, nobody waits, and the thread must go on for others."""
    with suppress(RuntimeError):
        taken[0][1].get_loop().call_soon_threadsafe(how, taken, what)


def _answered(taken: list[tuple[Tensor, "asyncio.Future[Answer]"]], answers: NDArray[np.float32]) -> None:
    for (_, future), answer in zip(taken, answers, strict=True):
        if not future.done():
            future.set_result(answer)


def _failed(taken: list[tuple[Tensor, "asyncio.Future[Answer]"]], error: BaseException) -> None:
    for _, future in taken:
        if not future.done():
            future.set_exception(error)
