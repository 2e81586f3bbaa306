"""The command line: `emm …`."""
