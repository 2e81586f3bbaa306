"""The C library's memory allocator. Imports nothing of EMM."""

import ctypes

_MAXIMUM_OF_ARENAS = -8
"""glibc's M_ARENA_MAX."""


def use_one_arena() -> None:
    """Let all threads allocate from one arena (glibc).

    By itself glibc opens an arena for each of the first threads, each with free memory of its own: 3 MB per process.
    Python's threads hold its lock while they allocate, so they do not need them.
    """
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc's
        libc.mallopt(_MAXIMUM_OF_ARENAS, 1)
