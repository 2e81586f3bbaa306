"""What EMM costs, measured: `make bench` runs every row, prints a table and writes results.json."""
