"""Opening a lake's catalog and registry, and the catalogs that other programs run."""
