"""Benchmarks of EMM: `make bench` measures every row, prints a table and writes results.json."""
