"""The outbox: batches of points on disk that no store has acknowledged yet."""
