"""The blocks of docs/walkthrough.md with the output of commands.

    <!-- walkthrough: scan -->
    …
    <!-- end -->

Between the two comments is a fenced block with the command and its output. Numbers (milliseconds, times, a port) differ
from run to run, so a block is up to date if it has the same words in the same lines.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCUMENT = Path(__file__).parents[2] / "docs" / "walkthrough.md"

_BLOCK = re.compile(r"(<!-- walkthrough: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_NUMBER = re.compile(r"\d+(\.\d+)*")


def with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Return the document with these blocks.

    Raises:
        KeyError: The document has a block of another name.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}```text\n{blocks[found[2]]}\n```\n{found[4]}", text)


def blocks_of(text: str) -> dict[str, str]:
    """Return the text of each block, without its fence."""
    return {found[2]: found[3].removeprefix("```text\n").removesuffix("\n```\n") for found in _BLOCK.finditer(text)}


def shape(block: str) -> list[str]:
    """Return the lines of the block with numbers replaced by `#`, since these differ from run to run."""
    return [" ".join(_NUMBER.sub("#", line).split()) for line in block.splitlines()]


def outdated(text: str, blocks: Mapping[str, str]) -> list[str]:
    """Return the names of blocks that are missing from the document, unknown, or different in more than numbers."""
    shown = blocks_of(text)
    return [
        name
        for name in {**blocks, **shown}
        if name not in shown or name not in blocks or shape(shown[name]) != shape(blocks[name])
    ]
