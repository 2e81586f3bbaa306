"""`emm demo`: run EMM on one machine, without an installed server."""
