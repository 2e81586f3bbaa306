"""What the pipeline knows of each device between polls, in tables that only the pipeline writes."""
