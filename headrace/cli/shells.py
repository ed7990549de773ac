"""`headrace ui` and `headrace dagster`: the pages and the asset graph of a lake, until stopped."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.nouns import add
from headrace.errors import SettingReason, SettingsError
from headrace.extras import need

_HOST = "127.0.0.1"  # Dagster has no login
_MIN, _MAX = 1, 65_535


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(
        app,
        "ui",
        ui,
        "ui",
        "ui --port 8502 --operator local",
        "ui --address 0.0.0.0 --login login.toml --operator ann@example.com --reader @example.com",
    )
    add(app, "dagster", dagster, "dagster", "dagster --port 3001")


def ui(
    *,
    port: Annotated[int, typer.Option(help="The port to listen on.", min=_MIN, max=_MAX)] = 8501,
    address: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; other than here with --login.")
    ] = _HOST,
    login: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A TOML file with the OpenID Connect provider, `[auth]`."
        ),
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="An e-mail address that may apply plans on the pages; `local` is whoever opens "
            "them without a login.",
        ),
    ] = None,
    reader: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="An e-mail address, or `@example.com`, that may see the pages besides operators; "
            "everyone whom the provider logs in if none is given.",
        ),
    ] = None,
) -> None:
    """Serve the pages of this lake until stopped.

    Pages show and change nothing, except for operators, who may apply a table's maintenance. From
    other machines they are reached with a login only.
    """
    from headrace.cli.pages_login import read_login, refuse_open_pages
    from headrace.scaffold.shells import shell_folder

    need("ui", "streamlit")
    script = shell_folder() / "ui" / "streamlit_app.py"
    listen = ["--server.address", address, "--server.port", str(port), "--server.headless", "true"]
    if login is None:
        refuse_open_pages(address, operators=operator or [], readers=reader or [])
    else:
        host = read_login(login)
        listen += ["--secrets.files", str(login.absolute())]
        for each in ("127.0.0.1", "localhost", host):
            listen += ["--server.allowedHosts", each]
    env = {
        **_environment(),
        "HEADRACE_PAGES_OPERATORS": ",".join(operator or []),
        "HEADRACE_PAGES_READERS": ",".join(reader or []),
    }
    _become(("streamlit", "run", str(script), *listen), env=env)


def dagster(
    *,
    port: Annotated[
        int, typer.Option(help="The port to listen on, at 127.0.0.1.", min=_MIN, max=_MAX)
    ] = 3000,
) -> None:
    """Serve the asset graph of this lake, with its sensors and schedules, until stopped.

    It is what `definitions.py` beside `lake` says, or else the graph of the declarations. Dagster
    keeps its runs in `dagster` of the state folder, unless DAGSTER_HOME is set.
    """
    from headrace.config import Settings
    from headrace.scaffold.shells import shell_folder

    need("dagster", "dagster", "dagster_dbt", "dagster_webserver")
    need("dbt", "dbt.adapters.duckdb")
    settings = Settings.load()
    env = _environment()
    env.setdefault("DAGSTER_HOME", str((settings.state_dir / "dagster").absolute()))
    _configure(Path(env["DAGSTER_HOME"]), shell_folder() / "orchestration" / "dagster.yaml")
    own = settings.root / "definitions.py"
    what = ("-f", str(own)) if own.is_file() else ("-m", "orchestration.definitions")
    where = ("-d", str(settings.root.absolute()), "--host", _HOST, "--port", str(port))
    _become(("dagster", "dev", *what, *where), env=env)


def _environment() -> dict[str, str]:
    """Return the environment of a shell: it finds its code, and this lake from any folder."""
    from headrace.config import Settings
    from headrace.scaffold.shells import shell_folder

    settings = Settings.load()
    paths = [str(shell_folder()), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HEADRACE_LAKE": str((settings.declarations / "lake.toml").absolute()),
    }


def _configure(home: Path, configuration: Path) -> None:
    """Write the instance's configuration; one that is there may have been edited, and stays."""
    if (home / "dagster.yaml").exists():
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(configuration, home / "dagster.yaml")
    except OSError as error:
        msg = f"Dagster's folder `{home}` cannot be written: {error.strerror}; set DAGSTER_HOME"
        raise SettingsError(
            msg, setting="DAGSTER_HOME", reason=SettingReason.NOT_ALLOWED
        ) from error


def _become(command: Sequence[str], *, env: dict[str, str]) -> None:
    """Go on as another program of this environment: it has this process id, and its signals."""
    sys.stdout.flush()
    # a shell starts background jobs with SIGINT ignored, and Dagster then ignores SIGTERM too
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(sys.executable, [sys.executable, "-m", *command], env)
