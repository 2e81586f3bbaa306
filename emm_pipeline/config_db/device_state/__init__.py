"""The state of each device between polls, in tables that only the pipeline writes."""
