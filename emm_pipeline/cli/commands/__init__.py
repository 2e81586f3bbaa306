"""The commands of `emm`, one module for each command or group of commands."""
