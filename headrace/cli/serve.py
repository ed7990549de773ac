"""`headrace serve`: the feature server."""

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.nouns import add
from headrace.errors import SettingReason, SettingsError
from headrace.extras import needing

_PORT = 8200


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app,
        "serve",
        serve,
        "serve",
        "serve --model .headrace/model --log-stream served --port 8300",
    )


def serve(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", min=0, max=65_535)] = _PORT,
    model: Annotated[
        Path | None, typer.Option(help="The folder of an exported model, to score with.")
    ] = None,
    log_stream: Annotated[
        str | None, typer.Option(help="The stream that answers are logged to, for `headrace skew`.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that requests must carry; needed off loopback."),
    ] = None,
    deadline_ms: Annotated[
        int, typer.Option(help="How long a request may take that names no deadline.", min=1)
    ] = 1_000,
    requests_per_s: Annotated[
        float | None,
        typer.Option(help="How many questions are taken a second, all by default.", min=0.1),
    ] = None,
) -> None:
    """Answer requests for vectors, scores and rankings over HTTP until stopped.

    POST /v1/vectors, /v1/score and /v1/rank; GET /healthz, /readyz, /metrics and /docs. SIGHUP reads
    the model again; SIGTERM ends it once the requests that are begun are answered.
    """
    from headrace.config import Settings

    with needing("serve"):
        from headrace.serving.server.app import ServerLimits
        from headrace.serving.server.run import serve as run
    limits = ServerLimits(
        deadline_s=deadline_ms / 1_000, token=_token(token_file), per_s=requests_per_s
    )

    def ready(address: str) -> None:
        typer.echo(f"serving on {address}; its requests are described at /docs", err=True)

    settings = Settings.load()
    run(
        settings,
        host=host,
        port=port,
        model=model,
        log_stream=log_stream,
        limits=limits,
        ready=ready,
    )


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except OSError as error:
        msg = f"the token's file `{path}` cannot be read: {error.strerror}"
        raise SettingsError(msg, setting=str(path), reason=SettingReason.UNREADABLE) from error
    if not token:
        msg = f"the token's file `{path}` is empty"
        raise SettingsError(msg, setting=str(path), reason=SettingReason.NOT_ALLOWED)
    return token
