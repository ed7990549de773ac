"""The interpreter that runs functions of Python beside Flink's tasks."""

import os
from urllib.parse import urlsplit

from headrace.errors import FlinkPythonMissingError, FlinkRefusedError
from headrace.flink.client import Gateway
from headrace.flink.session import SESSION
from headrace.flink.tile_sql import CREATE_FUNCTION, LOOK_AT_FUNCTION
from headrace.flink_access import FlinkAccess
from headrace.loopback import is_loopback


def python_session(access: FlinkAccess) -> dict[str, str]:
    """Return the settings of a session whose jobs call Python."""
    return {
        "python.executable": access.python,
        # the gateway asks a function for its types
        "python.client.executable": access.python,
    }


def refuse_python(access: FlinkAccess, *, view: str, command: tuple[str, ...]) -> None:
    """Refuse what `command` asks of a view where Flink has no interpreter; one on other hosts is not looked for.

    Raises:
        FlinkPythonMissingError: If nothing names it, or no program is there.

    """
    is_here = is_loopback(urlsplit(access.gateway_uri).hostname)
    if not access.python or (is_here and not os.access(access.python, os.X_OK)):
        raise FlinkPythonMissingError(view, python=access.python, command=command)


def refuse_function(access: FlinkAccess, *, view: str, command: tuple[str, ...]) -> None:
    """Refuse the same where Flink's gateway cannot load the function, as in a container without it.

    Raises:
        FlinkPythonMissingError: If it cannot.
        FlinkUnavailableError: If it does not answer.

    """
    refuse_python(access, view=view, command=command)
    statements = (CREATE_FUNCTION, LOOK_AT_FUNCTION)
    try:
        Gateway(access).run(statements, properties={**SESSION, **python_session(access)})
    except FlinkRefusedError as error:
        python, why = access.python, error.detail
        raise FlinkPythonMissingError(view, python=python, command=command, refused=why) from error
