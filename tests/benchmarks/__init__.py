"""Benchmarks: figures against references and peers, run as ``python -m tests.benchmarks.NAME``."""
