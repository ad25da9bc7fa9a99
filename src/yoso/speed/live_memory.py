"""The memory that a network's tensors need at once, counted from shapes alone: nothing is computed."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from yoso.preprocess import Size


class LiveBytes(TorchDispatchMode):
    """Adds up the bytes of the tensors that operators make, as long as each lives.

    Attributes:
        now: bytes that live.
        peak: the maximum so far.
    """

    def __init__(self) -> None:
        """Start without a tensor."""
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count what it makes."""
        return tree_map_only(Tensor, self._counted, func(*args, **(kwargs or {})))

    def _counted(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._seen:  # otherwise it is a view
            self._seen.add(key)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._dropped, key, storage.nbytes())
        return tensor

    def _dropped(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def activation_bytes(network: nn.Module, size: Size) -> int:
    """Return the peak of a network's tensors for one image in float32, weights and workspace not included.

    Args:
        network: on the meta device, in evaluation mode.
        size: (height, width) of the image in pixels.
    """
    image = torch.empty(1, 3, *size, device="meta")
    with torch.no_grad(), LiveBytes() as live:
        network(image)
    return live.peak
