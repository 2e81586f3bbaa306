"""`make docs`: write the generated blocks into the documents, from the code and from the output of commands."""

from collections.abc import Callable

from tools.documentation.blocks import blocks_of, with_blocks
from tools.documentation.outputs import demo_output
from tools.documentation.parts import ROOT, command_table, module_map, results_table

MADE: dict[str, Callable[[], str]] = {
    "commands": command_table,
    "demo": demo_output,
    "modules": module_map,
    "results": results_table,
}

for document in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]):
    text = document.read_text(encoding="utf-8")
    names = [name for name in blocks_of(text) if name in MADE]
    if names:
        document.write_text(with_blocks(text, {name: MADE[name]() for name in names}), encoding="utf-8")
        print(f"{document.relative_to(ROOT)}: {', '.join(names)}")
