"""JSON and metrics for programs. `openapi` describes every path."""
