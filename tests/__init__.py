"""Tests that mirror the package, and benchmarks beside them."""
