"""Runs the feature server: one process, one event loop, until it is told to stop."""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from headrace.config import Settings
from headrace.definitions.load import load_sample_sets, load_streams
from headrace.errors import LakeError, ServerAddressError, ServerPortError, ServingLogError
from headrace.loopback import is_loopback
from headrace.serving.open import open_store
from headrace.serving.scorer import Scorer
from headrace.serving.server.app import ServerLimits, make_app
from headrace.serving.server.log import ServingLog
from headrace.serving.server.reload import Hangups
from headrace.serving.server.service import Service
from headrace.serving.server.usual import UsualProtocol

# not httptools, which loses bodies, takes a trailer for a header and bounds no head: decision 0077
HTTP = UsualProtocol
_STOP_S_MAX = 30
_LACKING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # this machine lacks the address
_LOG = logging.getLogger(__name__)


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    model: Path | None,
    log_stream: str | None = None,
    limits: ServerLimits,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; requests that are begun are answered first.

    A connection that arrives while the port is being closed is refused or reset; nothing of its
    request was begun.

    SIGHUP reads the model's folder again, without a request lost; if it cannot be used, the former
    one stays. One of another definition than the published one waits for a switch: see `Service.use`.

    `ready` is told the address once requests are answered.

    Raises:
        ServerAddressError: If the address is not this host's own, and no token is asked for.
        ServerPortError: If it cannot be listened on.
        ModelFilesError, ModelMismatchError: If the model cannot be used.
        ServingLogError: If `log_stream` is not declared as a serving log.

    """
    if limits.token is None and not is_loopback(host):
        raise ServerAddressError(host)
    hangups = Hangups()
    with contextlib.ExitStack() as stack:
        stack.enter_context(hangups.noted())  # before the model is read, and until all is written
        log = None if log_stream is None else _open_log(settings, log_stream)
        if log is not None:
            stack.callback(log.close)  # after the last answer
        taken = _bound(host, port)  # before anything slow
        for each in taken:
            stack.enter_context(each)
        store = stack.enter_context(open_store(settings))
        service = Service(store, load_sample_sets(settings), log=log)
        if model is not None:
            service.use(Scorer.open(model, threads=settings.threads))
            again = partial(_reload, service, model, threads=settings.threads)
            stack.enter_context(hangups.acted_on(again))
        app = make_app(service, store, limits=limits)
        config = uvicorn.Config(
            app,
            http=HTTP,
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # nothing looks at where a request comes from
            timeout_graceful_shutdown=_STOP_S_MAX,
            server_header=False,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Server(config, ready=partial(ready, _address(taken[0]))).serve(taken))


def _bound(host: str, port: int) -> list[socket.socket]:
    """Take the port at each address of a host, as `localhost` may have two; nobody is answered yet.

    One that this machine lacks is left out if there is another: a name may have one of IPv6.
    """
    taken: list[socket.socket] = []
    lacking: OSError | None = None
    try:
        for family, kind, number, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            same = taken[0].getsockname()[1] if taken else port  # where any free one is asked for
            try:
                taken.append(_taken(family, kind, number, (address[0], same, *address[2:])))
            except OSError as error:
                if error.errno not in _LACKING:
                    raise
                lacking = error
        if lacking is not None and not taken:
            raise lacking
    except OSError as error:
        for each in taken:
            each.close()
        raise ServerPortError(host, port, detail=error.strerror or str(error)) from error
    return taken


def _taken(family: int, kind: int, number: int, address: tuple[Any, ...]) -> socket.socket:
    one = socket.socket(family, kind, number)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # the same port of IPv4 is one of its own
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _address(taken: socket.socket) -> str:
    host, port, *_ = taken.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _open_log(settings: Settings, name: str) -> ServingLog:
    streams = load_streams(settings)
    if name not in streams:
        raise ServingLogError(name, lacks="a file in `lake/streams`")
    return ServingLog.of(settings, streams[name])


class _Server(uvicorn.Server):
    """Ends with status 0 when it is told to: uvicorn's own raises the signal again in the end."""

    def __init__(self, config: uvicorn.Config, *, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so.

        Raises:
            ServerPortError: If another program began to since the port was taken.

        """
        try:
            await super().startup(sockets)
        except OSError as error:
            host, port, *_ = (sockets or [])[0].getsockname()
            raise ServerPortError(host, port, detail=error.strerror or str(error)) from error
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop at the first signal; a second one ends the process at once."""
        loop = asyncio.get_running_loop()

        def stop(told: signal.Signals) -> None:
            self.should_exit = True
            loop.remove_signal_handler(told)

        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, stop, each)
        yield


def _reload(service: Service, model: Path, *, threads: int) -> None:
    try:
        if not service.use(Scorer.open(model, threads=threads)):
            _LOG.info("the former model stays until the definition of this one is served")
    except LakeError as error:
        _LOG.error("the former model stays: %s", error.text())
    except Exception:  # noqa: BLE001  (the thread lives on: the next reload may find a better model)
        _LOG.exception("the former model stays")
