"""Exit with 0 if an address answers with 200, else with 1: the image has no other HTTP client."""

import sys
import urllib.request

_WAIT_S = 8.0
_OK = 200


def main() -> None:
    """Ask the address that is the only argument."""
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=_WAIT_S) as answer:
            sys.exit(0 if answer.status == _OK else 1)
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
