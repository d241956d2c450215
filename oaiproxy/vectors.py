"""What backends send as embeddings to lists of numbers in the order of the inputs, and these to OpenAI's base64."""

from __future__ import annotations

import binascii
import re
import struct
from base64 import b64encode
from math import hypot, isfinite

from oaiproxy.filters import kind
from oaiproxy.jsontext import Json

_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,4})?\s*")
_TYPES = {int, float}
_FLOAT_BYTES = 4


class VectorError(ValueError):
    """What came is no list of vectors."""


def read_vectors(value: Json) -> list[list[float]]:
    """The vectors in a value: a list of them, or one alone.

    Each is a list of numbers (also as strings, also as the only row of a matrix) or base64 of little-endian floats of
    32 bits. All are finite and of one length. Raises VectorError.
    """
    if value is None or value in ([], "", {}):
        raise VectorError("no vectors were found")
    vectors = [_vector(item) for item in _rows(value)]
    length = len(vectors[0])
    for vector in vectors:
        if len(vector) != length:
            raise VectorError(f"the vectors are not of one length: {length} and {len(vector)} numbers came")
    return vectors


def in_order(vectors: list[list[float]], places: Json) -> list[list[float]]:
    """The vectors, each at its own place. Raises VectorError when the places are not those from 0, each once."""
    if not isinstance(places, list) or len(places) != len(vectors):
        raise VectorError(f"{kind(places)} was found, not an index for each vector")
    indexes = [index_of(place) for place in places]
    if sorted(indexes) != list(range(len(vectors))):
        raise VectorError("the indexes are not those from 0, each once")
    ordered: list[list[float]] = [[]] * len(vectors)
    for index, vector in zip(indexes, vectors, strict=True):
        ordered[index] = vector
    return ordered


def index_of(value: Json) -> int:
    """An index, also as text; -1 for what is none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else -1


def to_base64(vector: list[float]) -> str:
    """A vector as base64 of little-endian floats of 32 bits. Raises VectorError for a number that is none such."""
    try:
        return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        raise VectorError("a number is too large for a float of 32 bits") from None


def shortened(vector: list[float], size: int) -> list[float]:
    """The first numbers of a vector, made one of length 1 again; as it is where it has no more than those.

    That keeps the meaning where a model was trained for it: https://arxiv.org/abs/2205.13147. Raises VectorError for a
    vector that is too short.
    """
    if len(vector) < size:
        raise VectorError(f"it has {len(vector)} numbers")
    if len(vector) == size:
        return vector
    head = vector[:size]
    length = hypot(*head)
    return [number / length for number in head] if length else head


def from_base64(text: str) -> list[float]:
    """The vector that base64 of little-endian floats of 32 bits stands for. Raises VectorError."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise VectorError("a vector is text that is not base64") from None
    if not data or len(data) % _FLOAT_BYTES:
        raise VectorError("a vector in base64 is not made of floats of 32 bits")
    return list(struct.unpack(f"<{len(data) // _FLOAT_BYTES}f", data))


def _rows(value: Json) -> list[Json]:
    """The vectors as they came: a single one becomes a list of one."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise VectorError(f"{kind(value)} was found, not a list of vectors")
    if _are_numbers(value) or _spell_numbers(value):
        return [value]
    return value


def _vector(item: Json) -> list[float]:
    if isinstance(item, str):
        return _finite(from_base64(item))
    if isinstance(item, list) and len(item) == 1 and isinstance(item[0], list):
        item = item[0]
    if not isinstance(item, list) or not item:
        raise VectorError(f"{kind(item)} was found in place of a vector")
    if isinstance(item[0], list):
        raise VectorError(f"{len(item)} vectors came for one input: the backend does not pool its tokens")
    types = set(map(type, item))
    if types == {float}:
        return _finite(item)
    if types <= _TYPES:
        try:
            return _finite([float(number) for number in item])
        except OverflowError:
            raise VectorError("a vector holds a number that is too large") from None
    if _spell_numbers(item):
        return _finite([float(number) for number in item])
    raise VectorError("a vector holds what is not a number")


def _are_numbers(items: list[Json]) -> bool:
    return set(map(type, items)) <= _TYPES


def _spell_numbers(items: list[Json]) -> bool:
    return all(isinstance(item, str) and _NUMBER.fullmatch(item) for item in items)


def _finite(vector: list[float]) -> list[float]:
    if not isfinite(sum(vector)) and not all(map(isfinite, vector)):
        raise VectorError("a vector holds a number that is not finite")
    return vector
