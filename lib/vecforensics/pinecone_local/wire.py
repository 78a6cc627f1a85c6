"""What goes over the wire: a request taken apart, an answer put together, and a refusal in the vendor's words.

JSON goes through orjson where it is installed (the SDK brings it from version 8 on), because it writes a float32 array as the
shortest decimals of those float32 numbers, which is how the vendor answers, forty times as fast as Python does. Without it the
standard library says the same.

The two planes word an error differently: the control plane names it, the data plane numbers it as gRPC does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import numpy as np

try:
    import orjson
except ImportError:  # SDK 7 does not bring it
    orjson = None  # type: ignore[assignment]

__all__ = ["MAX_BODY_BYTES", "MAX_URL_BYTES", "Answer", "Refused", "Request", "dumps", "loads", "refusal"]

# The vendor's limit on the body of an upsert.
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
# What the SDK's HTTP client itself allows; proxies on the way to the vendor may cap earlier.
MAX_URL_BYTES: Final = 65_536

# HTTP status → the number and the name that go with it in google.rpc.Code.
_CODES: Final = {
    400: (3, "INVALID_ARGUMENT"),
    401: (16, "UNAUTHENTICATED"),
    403: (7, "FORBIDDEN"),
    404: (5, "NOT_FOUND"),
    408: (4, "DEADLINE_EXCEEDED"),
    409: (6, "ALREADY_EXISTS"),
    412: (9, "FAILED_PRECONDITION"),
    413: (11, "OUT_OF_RANGE"),
    429: (8, "RESOURCE_EXHAUSTED"),
    500: (13, "INTERNAL"),
    501: (12, "UNIMPLEMENTED"),
    503: (14, "UNAVAILABLE"),
    504: (4, "DEADLINE_EXCEEDED"),
}


class Refused(Exception):
    """A request that the store would not carry out: the HTTP status and the sentence of its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Request:
    """One HTTP request; `target` is what stands in its first line, `headers` looks names up in any case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @cached_property
    def path(self) -> str:
        """The path, still percent-encoded."""
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """The query parameters, decoded."""
        try:
            return parse_qs(urlsplit(self.target).query, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            raise Refused(400, "the query is not valid UTF-8") from None

    @property
    def version(self) -> str:
        """The API version asked for, "" where none is: then the oldest shapes are answered."""
        return self.headers.get("X-Pinecone-Api-Version", "")

    def text(self, name: str) -> str:
        """The last value of one query parameter, "" without one."""
        return self.query.get(name, [""])[-1]

    def number(self, name: str, most: int) -> int:
        """A query parameter from 1 to `most`, which is also what counts without one."""
        said = self.text(name)
        if not said:
            return most
        if not said.isascii() or not said.isdigit() or not 1 <= int(said) <= most:
            raise Refused(400, f"{name} must be a whole number from 1 to {most}, got {said!r}")
        return int(said)

    def json(self) -> dict[str, Any]:
        """The body, which must be an object; no body is an empty one."""
        if not self.body:
            return {}
        try:
            found = loads(self.body)
        except ValueError as error:
            raise Refused(400, f"the body is not valid JSON: {error}") from None
        if not isinstance(found, dict):
            raise Refused(400, "the body must be a JSON object")
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: the status, a JSON value (None for an empty body) and further headers."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, message: str, *, control: bool, headers: Mapping[str, str] | None = None) -> Answer:
    """The error answer of one of the two planes."""
    number, name = _CODES.get(status, (2, "UNKNOWN"))
    value: dict[str, Any] = {"code": number, "message": message, "details": []}
    if control:
        value = {"error": {"code": name, "message": message}, "status": status}
    return Answer(value, status, headers or {})


def loads(text: bytes) -> Any:
    """Read JSON as its standard has it: NaN and Infinity, which SDK 7 sends, are no JSON. Raises ValueError."""
    if orjson is not None:
        return orjson.loads(text)
    return json.loads(text, parse_constant=_no_such_constant)


def dumps(value: Any) -> bytes:
    """Write JSON; float32 arrays as the shortest decimals that give those numbers again."""
    if orjson is not None:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()


def _no_such_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _plain(array: np.ndarray[Any, Any]) -> list[float | int]:
    if array.dtype == np.float32:
        return [float(str(number)) for number in array]
    return [int(number) for number in array]
