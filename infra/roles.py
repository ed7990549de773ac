"""The roles of the cluster profile: each has an identity of its own on every server."""

ROLES = ("ingest", "transform", "trainer", "page", "operator")
