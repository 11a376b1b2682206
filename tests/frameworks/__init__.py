"""Tests that need frameworks; `make test-all` runs them, and there a missing framework is an error."""
