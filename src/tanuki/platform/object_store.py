"""Object store: bytes under a key, in a folder or in S3 (or a compatible server), by fsspec."""

import uuid
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tanuki.errors import NotFound


class ObjectStore:
    """Bytes under a key such as `shop/purchase-orders/x.csv`. A `put` is atomic."""

    def __init__(self, url: str, endpoint: str = "", key: str = "", secret: str = "") -> None:
        self.url = url.rstrip("/")
        self.endpoint, self.key, self.secret = endpoint, key, secret

    @property
    def is_local(self) -> bool:
        """Whether the objects are files in a folder of this machine."""
        return not self.url.startswith("s3://")

    @cached_property
    def fs(self) -> Any:  # noqa: ANN401 fsspec has no types
        """The fsspec file system."""
        import fsspec

        if self.is_local:
            return fsspec.filesystem("file")
        options: dict[str, Any] = {"key": self.key, "secret": self.secret} if self.key else {}
        if self.endpoint:
            options["endpoint_url"] = self.endpoint
        # Other processes store objects too, so nothing that was listed may be cached.
        return fsspec.filesystem(
            "s3", skip_instance_cache=True, use_listings_cache=False, **options
        )

    def path_of(self, key: str) -> str:
        return f"{self.url}/{key}"

    def put(self, key: str, content: bytes) -> None:
        """Store bytes. Replaces an object of the same key."""
        path = self.path_of(key)
        if not self.is_local:
            self.fs.pipe_file(path, content)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
        unfinished.write_bytes(content)
        unfinished.replace(file)

    def get(self, key: str) -> bytes:
        """The bytes under a key. Raises NotFound."""
        try:
            return bytes(self.fs.cat_file(self.path_of(key)))
        except FileNotFoundError:
            raise NotFound("There is no object %(key)s.", key=key) from None

    def exists(self, key: str) -> bool:
        return bool(self.fs.isfile(self.path_of(key)))

    def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        if self.exists(key):
            self.fs.rm_file(self.path_of(key))

    def load_modified_at(self, key: str) -> datetime:
        """The time of an object's last `put`, in UTC."""
        modified_at = self.fs.modified(self.path_of(key))
        assert isinstance(modified_at, datetime)
        return modified_at if modified_at.tzinfo else modified_at.replace(tzinfo=UTC)

    def list_keys(self, prefix: str = "") -> list[str]:
        """Keys below a folder-like prefix, sorted."""
        root = self.path_of(prefix).rstrip("/")
        start = len(self.url.removeprefix("s3://")) + 1
        try:
            paths = self.fs.find(root)
        except FileNotFoundError:
            return []
        return sorted(path[start:] for path in paths if not path.rsplit("/", 1)[-1].startswith("."))
