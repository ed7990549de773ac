"""Parts of headrace that need packages of an optional extra, such as `headrace[dbt]`."""

import contextlib
from collections.abc import Generator
from importlib.util import find_spec

from headrace.errors import ExtraMissingError


@contextlib.contextmanager
def needing(extra: str) -> Generator[None]:
    """Name the extra to install if an import inside of the block fails.

    Raises:
        ExtraMissingError: If a module is not there.

    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExtraMissingError(error.name or extra, extra=extra) from error


def need(extra: str, *modules: str) -> None:
    """Refuse to go on without modules of an extra, which are not imported here.

    Raises:
        ExtraMissingError: Naming the first module that is not there.

    """
    for name in modules:
        with needing(extra):
            if find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
