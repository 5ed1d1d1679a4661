"""Read what people already have: recognise the format, say so, and give predictions by task."""

from holdfast.evaluation.readers.reading import Reading
from holdfast.evaluation.readers.recognise import read

__all__ = ["Reading", "read"]
