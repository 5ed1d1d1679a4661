"""Pictures that are no files of their own: written into a record as a data URI, or a cell of a data set."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from holdfast.errors import HoldfastError

_DATA_URI = re.compile(r"data:image(?:/[\w.+-]+)?(?:;[\w=.+-]+){0,4};base64,", re.IGNORECASE)


class StoredImage:
    """The encoded bytes of a picture (a PNG, a JPEG), wherever they lie; nothing is decoded before it is opened."""

    name: str

    def tobytes(self) -> bytes:
        """The encoded picture.

        Raises:
            HoldfastError: What is stored is no picture.
        """
        raise NotImplementedError

    @cached_property
    def key(self) -> str:
        """Sixteen digits that stand for the content."""
        return self.digest()

    def digest(self) -> str:
        """The same, computed now."""
        return hashlib.sha256(self.tobytes()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredImage) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(eq=False)
class DataURI(StoredImage):
    """``data:image/png;base64,...`` as OpenAI's form and web tools write it."""

    text: str
    name: str = "data URI"

    def tobytes(self) -> bytes:
        try:
            return base64.b64decode(self.text.partition(",")[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise HoldfastError(f"the data URI is not base64 ({error})", remedy="encode the picture again") from error


@dataclass(eq=False)
class Encoded(StoredImage):
    """Bytes that are there already."""

    content: bytes
    name: str = "picture"

    def tobytes(self) -> bytes:
        return self.content


_BASE64 = re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR|Qk[0-3])[A-Za-z0-9+/\r\n]{60}")
"""How JPEG, PNG, GIF, WebP and BMP begin in base64; long enough to be no path."""


def is_base64_picture(text: str) -> bool:
    """Whether a text in the place of a path is a picture in base64 and nothing else, as VLMEvalKit's tables hold it."""
    return _BASE64.match(text[:100]) is not None


def is_data_uri(text: str) -> bool:
    """Whether a text in the place of a path is a picture itself."""
    return _DATA_URI.match(text[:64]) is not None
