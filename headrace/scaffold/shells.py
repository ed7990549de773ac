"""Where the shells are: the pages, the asset graph, dbt's macros and the files of a new lake."""

from pathlib import Path

from headrace.errors import SettingReason, SettingsError

_PACKAGE = Path(__file__).parents[1]


def shell_folder() -> Path:
    """Return the folder that holds `ui`, `orchestration`, `dbt_project` and `new_lake`.

    In an installed wheel it is inside of this package, in a checkout the checkout.

    Raises:
        SettingsError: If this installation has none.

    """
    for place in (_PACKAGE / "shells", _PACKAGE.parent):
        if (place / "new_lake").is_dir():
            return place
    msg = (
        f"the installation of headrace in `{_PACKAGE}` lacks its pages and macros; install it again"
    )
    raise SettingsError(msg, setting=str(_PACKAGE), reason=SettingReason.MISSING)
