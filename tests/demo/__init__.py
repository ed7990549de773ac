"""Tests of the demo: what it lands, what it shows, and that nothing but completion ends it."""
