"""The file fields of forms with a photo: one that was chosen, or one from the camera."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, UploadFile

from tanuki.animals.http.deps import from_fields
from tanuki.errors import UserError


@dataclass(frozen=True)
class PhotoFields:
    photo: UploadFile | None = None
    camera: UploadFile | None = None

    @property
    def sent(self) -> UploadFile | None:
        """The file that was sent; browsers send an unused file field as an empty file."""
        return next(
            (file for file in (self.photo, self.camera) if file is not None and file.size), None
        )

    def read_photo(self) -> bytes:
        """The content of the photo. Raises UserError when none was sent."""
        if self.sent is None:
            raise UserError("Please take or choose a photo.")
        return self.sent.file.read()


SentPhoto = Annotated[PhotoFields, Depends(from_fields(PhotoFields))]
