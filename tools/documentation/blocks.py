"""Generated blocks of Markdown files: the text between `<!-- made: NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK = re.compile(r"(<!-- made: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def blocks_of(text: str) -> dict[str, str]:
    """Return the text of each block, by name."""
    return {found[2]: found[3].strip("\n") for found in _BLOCK.finditer(text)}


def with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Return the text with new contents in the blocks that `blocks` names; other blocks stay unchanged."""
    return _BLOCK.sub(
        lambda found: f"{found[1]}\n{blocks[found[2]]}\n\n{found[4]}" if found[2] in blocks else found[0], text
    )
