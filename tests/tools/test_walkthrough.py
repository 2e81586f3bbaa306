"""docs/walkthrough.md: every command in it is run, its result checked, and the page compared with what was printed."""

import subprocess
import sys

from emm_pipeline.settings import PROJECT_ROOT
from tools.walkthrough.document import blocks_of, out_of_step, shape, with_blocks
from tools.walkthrough.units import METERS, held_values


def test_the_walkthrough_ends_with_right_values_and_the_page_shows_what_the_commands_print():
    done = subprocess.run(
        [sys.executable, "-m", "tools.walkthrough"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    values = sum(len(held_values(unit_id)) for unit_id in METERS)
    assert f"{values} values compared with what the units hold: all right" in done.stdout


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


def test_numbers_may_differ_and_words_may_not():
    assert shape("unit 1 at 10.0.0.1:5020   in 12.5 ms") == shape("unit 2 at 127.0.0.1:1 in 7 ms")
    assert out_of_step(PAGE, {"scan": "$ emm scan\nunit  ms\n   1    3"}) == []
    assert out_of_step(PAGE, {"scan": "$ emm scan\nunit  s\n   1    3"}) == ["scan"]


def test_a_block_too_many_or_too_few_is_out_of_step():
    assert out_of_step(PAGE, {}) == ["scan"]
    assert out_of_step(PAGE, {"scan": "$ emm scan\nunit  ms\n   1   3", "poll": "x"}) == ["poll"]


def test_a_page_is_written_between_its_markers_only():
    written = with_blocks(PAGE, {"scan": "$ emm scan\nnew"})
    assert blocks_of(written) == {"scan": "$ emm scan\nnew"}
    assert written.startswith("# Title\n")
    assert written.endswith("\nText.\n")
    assert with_blocks(written, {"scan": "$ emm scan\nunit  ms\n   1  12"}) == PAGE
