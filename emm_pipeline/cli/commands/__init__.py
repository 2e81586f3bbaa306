"""The commands of `emm`, one module each."""
