"""Addresses that only this machine reaches."""

import ipaddress


def is_loopback(address: str | None) -> bool:
    """Whether a server at this address is reached from its own machine only; a name but `localhost` is not."""
    if address is None:
        return False
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
