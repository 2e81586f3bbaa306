"""Blocks of Markdown files that are not typed: between `<!-- made: NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK = re.compile(r"(<!-- made: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def blocks_of(text: str) -> dict[str, str]:
    """Return what stands in each block, by name."""
    return {found[2]: found[3].strip("\n") for found in _BLOCK.finditer(text)}


def with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Return the text with what belongs into its blocks; those of other names stay."""
    return _BLOCK.sub(
        lambda found: f"{found[1]}\n{blocks[found[2]]}\n\n{found[4]}" if found[2] in blocks else found[0], text
    )
