"""The latest values and the status of every meter, in memory, so that the page shows them at once."""
