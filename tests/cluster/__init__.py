"""Tests on the real servers of the cluster profile, which `make test-cluster` starts; `make test` does not."""
