"""The service: one thread with one event loop, an HTTP server for the control plane, and one for every index.

The vendor's emulator gave each index a port of its own, and so does this: a client that was handed an index's `host` talks to
that index and to no other. Everything listens on 127.0.0.1 alone. A `Fault` makes requests fail, with or without effect.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.client import responses
from types import TracebackType
from typing import Any, Self, cast

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.netutil import bind_sockets

from vecforensics.pinecone_local import control_plane, data_plane
from vecforensics.pinecone_local.control_plane import Plan
from vecforensics.pinecone_local.state import IndexState
from vecforensics.pinecone_local.wire import MAX_URL_BYTES, Answer, Refused, Request, dumps, refusal

__all__ = ["Fault", "PineconeLocal"]

_LOG = logging.getLogger(__name__)
_ADDRESS = "127.0.0.1"
# Past this Tornado closes the connection without a word; below, a body that is too large gets the vendor's answer.
_READ_BYTES = 64 * 1024 * 1024
_HEADER_BYTES = MAX_URL_BYTES + 16_384


@dataclass(slots=True)
class Fault:
    """The next `times` requests that match are answered with `status`.

    `request` is "METHOD /path", in which `*` stands for anything. With `effect` the request is carried out first: committed, but
    the client is told otherwise. Status 0 closes the connection without an answer.
    """

    request: str
    status: int = 503
    retry_after_s: float | None = None
    effect: bool = False
    times: int = 1

    def __post_init__(self) -> None:
        if self.status != 0 and not 400 <= self.status <= 599:
            raise ValueError(f"the status of a fault is 0 or an error from 400 to 599, not {self.status}")


@dataclass(frozen=True, slots=True)
class _Served:
    """One index as it stands there: what it was asked to be, its state, and the server of its data plane."""

    plan: Plan
    state: IndexState
    server: HTTPServer
    host: str


class PineconeLocal:
    """A Pinecone-compatible service in this process, for as long as its `with` block lasts.

    `lag_s`: how long after its acknowledgement a write becomes visible, in indexes made from then on.
    `latency_s`: how long every answer takes on its way, as over a network. `port`: of the control plane; 0 takes a free one.
    """

    def __init__(
        self, api_key: str = "local", lag_s: float = 0.0, port: int = 0, latency_s: float = 0.0
    ) -> None:
        self.api_key, self.lag_s, self.latency_s, self.url = api_key, lag_s, latency_s, ""
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self._port = port
        self._lock = threading.RLock()
        self._served: dict[str, _Served] = {}
        self._interned: dict[tuple[str, str], tuple[str, str]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        """Bind, begin to serve, and return once clients can come. Raises OSError where the port is taken."""
        sockets = bind_sockets(self._port, _ADDRESS)
        self.url = f"http://{_ADDRESS}:{sockets[0].getsockname()[1]}"
        ready = threading.Event()

        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            server = self._server(lambda request: control_plane.answer(self, request), control=True)
            server.add_sockets(sockets)
            ready.set()
            await self._stop.wait()
            for name in list(self._served):
                self._end(self._served[name].server)
            self._end(server)
            await asyncio.gather(*self._closing)

        self._thread = threading.Thread(
            target=asyncio.run, args=(serve(),), name="pinecone-local", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection and end the thread. The state can still be read."""
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop = None

    def create_index(self, name: str, dimension: int, metric: str = "cosine") -> IndexState:
        """Make a vector index and serve it, as a client could; raises `Refused` where a client would be refused."""
        self.create(Plan(name, dimension, metric))
        return self.index(name)

    def index(self, name: str) -> IndexState:
        """The state of one index."""
        return self._served[name].state

    def host(self, name: str) -> str:
        """The address of one index's data plane."""
        return self._served[name].host

    def plans(self) -> dict[str, tuple[Plan, str]]:
        """The indexes by name: each with its plan and its address."""
        with self._lock:
            return {name: (one.plan, one.host) for name, one in self._served.items()}

    def create(self, plan: Plan) -> None:
        """Make an index and begin to serve it."""
        with self._lock:
            if plan.name in self._served:
                raise Refused(409, "Resource already exists")
            if self._loop is None:
                raise RuntimeError("the service is not running: enter its with block first")
            state = IndexState(plan.name, plan.dimension, plan.metric, lag_s=self.lag_s)
            server = self._server(lambda request: data_plane.answer(state, request), control=False)
            sockets = bind_sockets(0, _ADDRESS)
            host = f"http://{_ADDRESS}:{sockets[0].getsockname()[1]}"
            self._served[plan.name] = _Served(plan, state, server, host)

        async def listen() -> None:
            server.add_sockets(sockets)

        self._on_loop(listen)

    def remove(self, name: str) -> None:
        """Stop serving an index and forget it; its connections are closed."""
        with self._lock:
            server = self._served.pop(name).server

        async def end() -> None:
            self._end(server)

        self._on_loop(end)

    def _on_loop(self, do: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the loop do something. Whoever is on another thread waits for it; the loop itself does it next."""
        assert self._loop is not None
        if threading.current_thread() is self._thread:
            # A socket that is bound already takes connections, so nothing is lost in between.
            task = self._loop.create_task(do())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        else:
            asyncio.run_coroutine_threadsafe(do(), self._loop).result()

    def _end(self, server: HTTPServer) -> None:
        server.stop()
        task = asyncio.get_running_loop().create_task(server.close_all_connections())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _server(self, handle: Callable[[Request], Answer], *, control: bool) -> HTTPServer:
        def respond(request: Request) -> Answer | None:
            return self._respond(request, handle, control)

        return HTTPServer(
            _Connections(respond, self.latency_s), max_header_size=_HEADER_BYTES, max_body_size=_READ_BYTES
        )

    def _respond(self, request: Request, handle: Callable[[Request], Answer], control: bool) -> Answer | None:
        """The answer to one request, None for no answer but a closed connection."""
        seen = (request.method, request.path)
        self.requests.append(self._interned.setdefault(seen, seen))
        fault = self._next_fault(f"{request.method} {request.path}")
        if fault is None:
            return self._handled(request, handle, control)
        if fault.effect:
            self._handled(request, handle, control)
        if fault.status == 0:
            return None
        after = {} if fault.retry_after_s is None else {"retry-after": f"{fault.retry_after_s:g}"}
        return refusal(fault.status, "a fault that was asked for", control=control, headers=after)

    def _handled(self, request: Request, handle: Callable[[Request], Answer], control: bool) -> Answer:
        key = request.headers.get("Api-Key", "")
        if not hmac.compare_digest(key.encode(), self.api_key.encode()):
            return refusal(401, "Invalid API key", control=control)
        if len(request.target) > MAX_URL_BYTES:
            return refusal(414, "the URL is too long", control=control)
        try:
            return handle(request)
        except Exception:
            _LOG.exception("a fault of the local service at %s %s", request.method, request.path)
            return refusal(500, "a fault of the local service", control=control)

    def _next_fault(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and fnmatchcase(request, fault.request):
                    fault.times -= 1
                    if fault.times == 0:
                        self.faults.remove(fault)
                    return fault
        return None


class _Connections(HTTPServerConnectionDelegate):
    """Hands every request of every connection to `respond`.

    Tornado's own request object will not do: it refuses more than 1,000 query parameters, and a fetch may name 1,000 ids and then
    a namespace.
    """

    def __init__(self, respond: Callable[[Request], Answer | None], latency_s: float) -> None:
        self._respond, self._latency_s = respond, latency_s

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Take the next request of one connection."""
        return _Message(cast(HTTP1Connection, request_conn), self._respond, self._latency_s)


class _Message(HTTPMessageDelegate):
    """One request on its way in, and the answer out."""

    def __init__(
        self, connection: HTTP1Connection, respond: Callable[[Request], Answer | None], latency_s: float
    ) -> None:
        self._connection, self._respond, self._latency_s = connection, respond, latency_s
        self._method, self._target, self._headers = "", "", HTTPHeaders()
        self._chunks: list[bytes] = []

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Note the first line and the headers."""
        self._method, self._target, _ = cast(RequestStartLine, start_line)
        self._headers = headers

    def data_received(self, chunk: bytes) -> None:
        """Note a part of the body."""
        self._chunks.append(chunk)

    def finish(self) -> None:
        """The request is complete: answer it."""
        answer = self._respond(Request(self._method, self._target, self._headers, b"".join(self._chunks)))
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: Answer | None) -> None:
        if answer is None:
            self._connection.close()
            return
        body = b"" if answer.value is None else dumps(answer.value)
        headers = HTTPHeaders({"content-type": "application/json", "content-length": str(len(body))})
        headers.update(answer.headers)
        start = ResponseStartLine("HTTP/1.1", answer.status, responses.get(answer.status, "Unknown"))
        self._connection.write_headers(start, headers, body)
        self._connection.finish()
