"""Write what a Trino in a container reads, before it starts: its secrets, and the tables of the catalog."""

import os
import sys
from pathlib import Path

from infra.roles import ROLES
from infra.trino import catalog, secrets


def main() -> None:
    """Write into the folder that is the only argument what the environment says."""
    names = {role: f"TRINO_{role.upper()}_PASSWORD" for role in ROLES}
    missing = [name for name in ("CATALOG_URI", *names.values()) if not os.environ.get(name)]
    if missing:
        sys.exit(f"error: {missing[0]} is not set")
    passwords = {role: os.environ[name] for role, name in names.items()}
    secrets.write(Path(sys.argv[1]), passwords=passwords, names=("DNS:trino", "DNS:localhost"))
    catalog.make(os.environ["CATALOG_URI"])


if __name__ == "__main__":
    main()
