"""Poll a fleet once: plan, read, decode, store, results, timing, sharding, backoff and device state."""
