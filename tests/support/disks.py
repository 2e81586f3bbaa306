"""A small disk that a test can fill: a tmpfs, which only root may mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallDisk:
    """A folder that may be a disk of its own; `can_be_filled` is false if it could not be mounted."""

    def __init__(self, folder: Path, *, can_be_filled: bool) -> None:
        self.folder = folder
        self.can_be_filled = can_be_filled
        self._padding = folder / "padding"

    def fill(self) -> None:
        """Leave no room."""
        assert self.can_be_filled
        with self._padding.open("wb", buffering=0) as padding:
            try:
                while padding.write(bytes(1 << 20)):
                    pass
                while padding.write(bytes(512)):
                    pass
            except OSError:
                return

    def make_room(self) -> None:
        """Remove what `fill` has written."""
        self._padding.unlink()


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size on the folder, and unmount it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield SmallDisk(folder, can_be_filled=mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
