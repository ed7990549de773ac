"""The interpreter that runs functions of Python beside Flink's tasks."""

import os
from urllib.parse import urlsplit

from headrace.errors import FlinkPythonMissingError
from headrace.flink_access import FlinkAccess
from headrace.loopback import is_loopback


def python_session(access: FlinkAccess) -> dict[str, str]:
    """Return the settings of a session whose jobs call Python."""
    return {
        "python.executable": access.python,
        # the gateway asks a function for its types
        "python.client.executable": access.python,
    }


def refuse_python(access: FlinkAccess, *, view: str) -> None:
    """Refuse a view where Flink has no interpreter; one on other hosts is not looked for.

    Raises:
        FlinkPythonMissingError: If nothing names it, or no program is there.

    """
    is_here = is_loopback(urlsplit(access.gateway_uri).hostname)
    if not access.python or (is_here and not os.access(access.python, os.X_OK)):
        raise FlinkPythonMissingError(view, python=access.python)
