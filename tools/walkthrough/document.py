"""The blocks of docs/walkthrough.md that hold what commands printed.

    <!-- walkthrough: scan -->
    …
    <!-- end -->

Between the two stands, in a fence, the command and its output. Numbers differ from run to run (milliseconds, times, a
port), so a document is in step when it has the same words in the same lines.
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
    """Return the document with these blocks in it.

    Raises:
        KeyError: The document has a block of another name.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}```text\n{blocks[found[2]]}\n```\n{found[4]}", text)


def blocks_of(text: str) -> dict[str, str]:
    """Return what stands in each block, without its fence."""
    return {found[2]: found[3].removeprefix("```text\n").removesuffix("\n```\n") for found in _BLOCK.finditer(text)}


def shape(block: str) -> list[str]:
    """Return the block's lines without what differs from run to run."""
    return [" ".join(_NUMBER.sub("#", line).split()) for line in block.splitlines()]


def out_of_step(text: str, blocks: Mapping[str, str]) -> list[str]:
    """Return the names of the blocks that the document lacks, has too many, or shows in another shape."""
    shown = blocks_of(text)
    return [
        name
        for name in {**blocks, **shown}
        if name not in shown or name not in blocks or shape(shown[name]) != shape(blocks[name])
    ]
