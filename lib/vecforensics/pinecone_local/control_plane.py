"""The control plane: making, naming and removing indexes, in the shapes of the API version that was asked for.

From 2026-07 on an index model has `schema` and `deployment`; before, `dimension`, `metric` and `spec`. Both say the same of the
one kind of index that is served here: dense vectors, serverless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote

from vecforensics.pinecone_local.state import METRICS
from vecforensics.pinecone_local.wire import Answer, Refused, Request, refusal

__all__ = ["Indexes", "Plan", "answer"]

_PATH: Final = "/indexes"
_SCHEMA_SINCE: Final = "2026-07"
_READ_CAPACITY_SINCE: Final = "2025-10"
# The field name by which the vendor marks a vector index; any other is a document index.
_VALUES_FIELD: Final = "_values"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,43}[a-z0-9])?")
_MOST_DIMENSIONS: Final = 20_000
_ONLY: Final = "the local service has only serverless indexes of dense vectors"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an index was asked to be. Made by hand or from a request, it is checked all the same."""

    name: str
    dimension: int
    metric: str = "cosine"
    cloud: str = "aws"
    region: str = "us-east-1"
    protected: bool = False
    tags: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise Refused(
                400,
                "Name must consist of 1 to 45 lower case letters, digits or '-', and begin and end without '-'",
            )
        if type(self.dimension) is not int or not 1 <= self.dimension <= _MOST_DIMENSIONS:
            raise Refused(
                400, f"Dimension must be a whole number from 1 to {_MOST_DIMENSIONS}, got {self.dimension!r}"
            )
        if self.metric not in METRICS:
            raise Refused(400, f"Metric must be one of {', '.join(METRICS)}, got {self.metric!r}")


class Indexes(Protocol):
    """What the control plane acts on."""

    def plans(self) -> dict[str, tuple[Plan, str]]:
        """The indexes by name: each with its plan and the address of its data plane."""

    def create(self, plan: Plan) -> None:
        """Make an index and begin to serve it; refuses a name that is taken."""

    def remove(self, name: str) -> None:
        """Stop serving an index and forget it."""


def answer(indexes: Indexes, request: Request) -> Answer:
    """Carry out one request, or refuse it in the control plane's shape."""
    try:
        return _routed(indexes, request)
    except Refused as error:
        return refusal(error.status, error.message, control=True)


def _routed(indexes: Indexes, request: Request) -> Answer:
    method, path = request.method, request.path
    if path == _PATH and method == "GET":
        models = [_model(plan, host, request.version) for plan, host in indexes.plans().values()]
        return Answer({"indexes": models})
    if path == _PATH and method == "POST":
        plan = _plan(request.json())
        indexes.create(plan)
        return Answer(_model(plan, indexes.plans()[plan.name][1], request.version), 201)
    name = unquote(path.removeprefix(_PATH + "/"))
    if not path.startswith(_PATH + "/") or "/" in name or method not in ("GET", "DELETE"):
        raise Refused(501, f"{method} {path} is not supported by the local service")
    if name not in indexes.plans():
        raise Refused(404, f"Resource {name} not found")
    plan, host = indexes.plans()[name]
    if method == "GET":
        return Answer(_model(plan, host, request.version))
    if plan.protected:
        raise Refused(403, f"Deletion protection is enabled for {name}; the local service cannot lift it")
    indexes.remove(name)
    return Answer(None, 202)


def _plan(body: dict[str, Any]) -> Plan:
    """What a request to create an index asks for, in either shape."""
    if "schema" in body and "dimension" not in body:
        fields = _part(body, "schema").get("fields")
        if not isinstance(fields, dict) or list(fields) != [_VALUES_FIELD]:
            raise Refused(400, f"{_ONLY}: their schema has the field {_VALUES_FIELD!r} alone")
        shape = _part(fields, _VALUES_FIELD)
        where = _part(body, "deployment") if body.get("deployment") else {"deployment_type": "managed"}
        serverless = where.get("deployment_type") == "managed"
    else:
        shape, spec = body, _part(body, "spec")
        where = _part(spec, "serverless") if "serverless" in spec else {}
        serverless = "serverless" in spec
    if not serverless or shape.get("type", "dense_vector") != "dense_vector":
        raise Refused(400, _ONLY)
    if body.get("vector_type") not in (None, "dense"):
        raise Refused(400, _ONLY)
    return Plan(
        body.get("name", ""),
        shape.get("dimension", 0),
        shape.get("metric") or "cosine",
        where.get("cloud") or "aws",
        where.get("region") or "us-east-1",
        body.get("deletion_protection") == "enabled",
        body.get("tags") or None,
    )


def _part(body: dict[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name)
    if not isinstance(found, dict):
        raise Refused(400, f"{name} must be an object")
    return found


def _model(plan: Plan, host: str, version: str) -> dict[str, Any]:
    """An index as it is described to a client of that API version."""
    read_capacity = {"mode": "OnDemand", "status": {"state": "Ready"}}
    model: dict[str, Any] = {
        "name": plan.name,
        "host": host,
        "status": {"ready": True, "state": "Ready"},
        "deletion_protection": "enabled" if plan.protected else "disabled",
    }
    if plan.tags:
        model["tags"] = dict(plan.tags)
    place: dict[str, Any] = {"cloud": plan.cloud, "region": plan.region}
    if version >= _SCHEMA_SINCE:
        field = {"type": "dense_vector", "dimension": plan.dimension, "metric": plan.metric}
        model["schema"] = {"fields": {_VALUES_FIELD: field}}
        model["deployment"] = {"deployment_type": "managed", **place}
        model["read_capacity"] = read_capacity
        return model
    if version >= _READ_CAPACITY_SINCE:
        place["read_capacity"] = read_capacity
    spec = {"serverless": place}
    return {**model, "dimension": plan.dimension, "metric": plan.metric, "vector_type": "dense", "spec": spec}
