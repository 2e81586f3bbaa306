"""The outbox: batches of points on disk that the store has not acknowledged yet."""
