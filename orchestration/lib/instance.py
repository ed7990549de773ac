"""The Dagster instance of a lake: as Dagster's own, with a web server that other sites cannot use."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData

if TYPE_CHECKING:
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.middleware import Middleware


class GuardedInstance(dg.DagsterInstance):
    """Named by `orchestration/dagster.yaml`, so that each way to start the server guards it.

    `dagster dev`, `dg dev` and `dagster-webserver` all load the instance from DAGSTER_HOME and tell
    it that it serves pages; that is when the guard is put in front. Starting the server from code of
    ours instead would leave those three open.

    Args:
        allowed_hosts: Host names beside those of loopback, as behind a proxy with a name.
        instance: What Dagster hands to every instance.

    """

    def __init__(self, *, allowed_hosts: Sequence[str] = (), **instance: Any) -> None:  # noqa: ANN401  (Dagster's own)
        self._more_hosts = allowed_hosts
        super().__init__(**instance)

    @staticmethod
    def config_schema() -> Mapping[str, dg.Field]:
        """Name the keys that dagster.yaml may hold for this class."""
        return {"allowed_hosts": dg.Field(dg.Array(str), default_value=[], is_required=False)}

    @staticmethod
    def config_defaults(base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        """Keep Dagster's defaults for everything else."""
        return InstanceRef.config_defaults(base_dir)

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Put the guard in front of the web server that is about to start in this process."""
        # here and not above: every run of a job loads the instance, and few serve pages
        from dagster_webserver.webserver import DagsterWebserver
        from starlette.middleware import Middleware

        from orchestration.lib.guard import LOOPBACK_HOSTS, SameSiteOnly

        hosts, build = (*LOOPBACK_HOSTS, *self._more_hosts), DagsterWebserver.build_middleware

        def guarded(self: "DagsterWebserver[Any, Any]") -> "list[Middleware]":
            return [Middleware(SameSiteOnly, hosts=hosts), *build(self)]

        DagsterWebserver.build_middleware = guarded
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)
