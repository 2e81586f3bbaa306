"""docs/walkthrough.md: runs every command on the page, checks its result, and compares the page with its output."""

from support.command_line import CommandLine

from tools.walkthrough.__main__ import main
from tools.walkthrough.document import blocks_of, outdated, shape, with_blocks
from tools.walkthrough.units import METERS, held_values


def test_every_command_of_the_walkthrough_works_and_the_page_shows_its_output(command_server, capsys):
    code = main([], lambda arguments, settings: CommandLine(dict(settings), command_server)(*arguments))
    printed = capsys.readouterr()
    assert code == 0, printed.out + printed.err
    values = sum(len(held_values(unit_id)) for unit_id in METERS)
    assert f"{values} values compared with those of the units: all equal" in printed.out


PAGE = """# Title

<!-- walkthrough: scan -->
```text
$ emm scan
unit  ms
   1  12
```
<!-- end -->

Text.
"""


def test_a_block_is_outdated_if_its_words_differ_but_not_if_its_numbers_do():
    assert shape("unit 1 at 10.0.0.1:5020   in 12.5 ms") == shape("unit 2 at 127.0.0.1:1 in 7 ms")
    assert outdated(PAGE, {"scan": "$ emm scan\nunit  ms\n   1    3"}) == []
    assert outdated(PAGE, {"scan": "$ emm scan\nunit  s\n   1    3"}) == ["scan"]


def test_a_missing_or_unknown_block_is_outdated():
    assert outdated(PAGE, {}) == ["scan"]
    assert outdated(PAGE, {"scan": "$ emm scan\nunit  ms\n   1   3", "poll": "x"}) == ["poll"]


def test_writing_a_page_changes_only_the_text_between_its_markers():
    written = with_blocks(PAGE, {"scan": "$ emm scan\nnew"})
    assert blocks_of(written) == {"scan": "$ emm scan\nnew"}
    assert written.startswith("# Title\n")
    assert written.endswith("\nText.\n")
    assert with_blocks(written, {"scan": "$ emm scan\nunit  ms\n   1  12"}) == PAGE
