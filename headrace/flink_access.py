"""How a profile reaches Flink: its JobManager and its SQL gateway."""

from dataclasses import dataclass

from headrace.errors import SettingReason, SettingsError
from headrace.servers import Sayings, http_address


@dataclass(frozen=True, kw_only=True)
class FlinkAccess:
    """How to reach Flink: its JobManager and its SQL gateway, which ask for no password.

    `answer_s_max` is how long to wait for an answer of one of them. `python` is the interpreter at Flink's
    hosts that has PyFlink and headrace; "" where nothing names it.
    """

    uri: str
    gateway_uri: str
    answer_s_max: float = 60.0
    python: str = ""


def flink_access(sayings: Sayings) -> FlinkAccess | None:
    """Read how to reach Flink; None if nothing names it.

    Raises:
        SettingsError: If an address is none, or only one of the two is named.

    """
    uri = http_address(sayings.of("flink_uri", by="HEADRACE_FLINK_URI"))
    gateway_uri = http_address(sayings.of("flink_gateway_uri", by="HEADRACE_FLINK_GATEWAY_URI"))
    if bool(uri) != bool(gateway_uri):
        msg = "set both HEADRACE_FLINK_URI and HEADRACE_FLINK_GATEWAY_URI, or neither"
        raise SettingsError(msg, setting="flink_uri", reason=SettingReason.NEEDS_ANOTHER)
    python = sayings.of("flink_python", by="HEADRACE_FLINK_PYTHON").value
    return FlinkAccess(uri=uri, gateway_uri=gateway_uri, python=python) if uri else None
