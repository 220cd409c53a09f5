"""Batches that fit the memory: the same inputs in smaller parts where a part was too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

# What torch says where memory runs out: CUDA and MPS, the CPU's allocator on Linux, and on Windows.
FULL = ("out of memory", "DefaultCPUAllocator", "not enough memory", "CUDNN_STATUS_ALLOC_FAILED")


class Fitting:
    """How many inputs go through a network at once: `most`, halved for good each time that memory runs out.

    Parameters
    ----------
    most : the largest part that is tried, at least 1.
    """

    def __init__(self, most: int) -> None:
        self.size = most

    def run(self, count: int, work: Callable[[slice], Result]) -> Iterator[tuple[slice, Result]]:
        """Yield what `work` makes of ``0…count``, in parts of nearly equal size and in order.

        A part that does not fit is done again in halves, so `work` must give the same for the same input in any part.

        Raises
        ------
        InputError : where not even one input fits.
        """
        start = 0
        while start < count:
            parts = -(-(count - start) // self.size)
            part = slice(start, start + -(-(count - start) // parts))
            try:
                result = work(part)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
                if part.stop - part.start == 1:
                    message = (
                        "one image alone does not fit into the memory that is free. Use smaller inputs (a wb.Preprocessing of "
                        "another size), or a device with more memory."
                    )
                    raise InputError(message) from error
                self.size = (part.stop - part.start + 1) // 2
            else:
                yield part, result
                start = part.stop
                continue
            # Only here, with the error and the frames it holds let go, can the memory be given back.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def ran_out(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in FULL)
