"""Objects: bytes under a key, in a folder or in S3 and compatibles; through fsspec, so that both are one code."""

import uuid
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tanuki.errors import NotFound


class ObjectStore:
    """Bytes under a key such as `shop/purchase-orders/x.csv`. A put is whole or not there at all."""

    def __init__(self, url: str, endpoint: str = "", key: str = "", secret: str = "") -> None:
        self.url = url.rstrip("/")
        self.endpoint, self.key, self.secret = endpoint, key, secret

    @property
    def is_local(self) -> bool:
        """Whether the objects are files in a folder of this machine."""
        return not self.url.startswith("s3://")

    @cached_property
    def fs(self) -> Any:
        """The fsspec file system that holds them."""
        import fsspec

        if self.is_local:
            return fsspec.filesystem("file")
        given: dict[str, Any] = {"key": self.key, "secret": self.secret} if self.key else {}
        if self.endpoint:
            given["endpoint_url"] = self.endpoint
        return fsspec.filesystem(
            "s3", skip_instance_cache=True, use_listings_cache=False, **given
        )  # other processes put objects too

    def path_of(self, key: str) -> str:
        """A key's place in the file system."""
        return f"{self.url}/{key}"

    def put(self, key: str, content: bytes) -> None:
        """Store bytes; what was there before is replaced."""
        path = self.path_of(key)
        if not self.is_local:
            self.fs.pipe_file(path, content)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        half = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
        half.write_bytes(content)
        half.replace(file)

    def get(self, key: str) -> bytes:
        """The bytes under a key. Raises NotFound."""
        try:
            return bytes(self.fs.cat_file(self.path_of(key)))
        except FileNotFoundError:
            raise NotFound("There is no object %(key)s.", key=key) from None

    def exists(self, key: str) -> bool:
        """Whether something is stored under a key."""
        return bool(self.fs.isfile(self.path_of(key)))

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        if self.exists(key):
            self.fs.rm_file(self.path_of(key))

    def load_modified_at(self, key: str) -> datetime:
        """When an object was last put."""
        found = self.fs.modified(self.path_of(key))
        assert isinstance(found, datetime)
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def list_keys(self, prefix: str = "") -> list[str]:
        """Keys that begin with a folder-like prefix, in order."""
        root = self.path_of(prefix).rstrip("/")
        start = len(self.url.removeprefix("s3://")) + 1
        try:
            found = self.fs.find(root)
        except FileNotFoundError:
            return []
        return sorted(path[start:] for path in found if not path.rsplit("/", 1)[-1].startswith("."))
