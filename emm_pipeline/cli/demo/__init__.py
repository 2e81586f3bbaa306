"""`emm demo`: the product on one machine, without an installed server."""
