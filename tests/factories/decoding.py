"""One picture decoder for all tests of a process."""

import atexit

from tanuki.animals.images import photo_files
from tanuki.animals.images.decoder import Decoder
from tanuki.animals.images.photo_files import CleanPhoto

DECODER = Decoder()
atexit.register(DECODER.close)


def clean_image(content: bytes) -> CleanPhoto:
    """A file as the site stores it. Raises UserError for one that it does not accept."""
    return photo_files.clean_image(DECODER, content)
