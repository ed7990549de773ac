"""What a server answers over HTTP on this machine."""

import urllib.request

_WAIT_S = 5.0


def text_of(address: str) -> str:
    """Return the text behind an address.

    Raises:
        OSError: If it does not answer, or with an error.

    """
    with urllib.request.urlopen(address, timeout=_WAIT_S) as answer:
        return str(answer.read().decode())
