"""The revisions, in order. Do not change a released revision: add another one."""
