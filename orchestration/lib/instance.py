"""Dagster's default instance, with a web server that is protected from cross-site requests."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData

if TYPE_CHECKING:
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.middleware import Middleware


class GuardedInstance(dg.DagsterInstance):
    """Set in `orchestration/dagster.yaml`, so that every way to start the server is guarded.

    `dagster dev`, `dg dev` and `dagster-webserver` all load the instance from DAGSTER_HOME and call
    `optimize_for_webserver`, which installs the guard. A start script of our own would leave these
    three unguarded.

    Args:
        allowed_hosts: Allowed host names besides loopback, for example that of a proxy.
        instance: Arguments that Dagster passes to every instance.

    """

    def __init__(self, *, allowed_hosts: Sequence[str] = (), **instance: Any) -> None:  # noqa: ANN401  (Dagster's own)
        self._more_hosts = allowed_hosts
        super().__init__(**instance)

    @staticmethod
    def config_schema() -> Mapping[str, dg.Field]:
        """Return the configuration keys of this class in dagster.yaml."""
        return {"allowed_hosts": dg.Field(dg.Array(str), default_value=[], is_required=False)}

    @staticmethod
    def config_defaults(base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        """Keep Dagster's defaults for everything else."""
        return InstanceRef.config_defaults(base_dir)

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Install the guard in the web server that is about to start in this process."""
        # imported here: every run loads the instance, but only the web server needs these modules
        from dagster_webserver.webserver import DagsterWebserver
        from starlette.middleware import Middleware

        from orchestration.lib.guard import LOOPBACK_HOSTS, SameSiteOnly

        hosts, build = (*LOOPBACK_HOSTS, *self._more_hosts), DagsterWebserver.build_middleware

        def guarded(self: "DagsterWebserver[Any, Any]") -> "list[Middleware]":
            return [Middleware(SameSiteOnly, hosts=hosts), *build(self)]

        DagsterWebserver.build_middleware = guarded
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)
