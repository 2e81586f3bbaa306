"""The output of commands is printable text, whatever names and values contain."""

import json

import pytest

from emm_pipeline.cli.output import note, print_json, printable, say
from emm_pipeline.cli.showing.tables import print_table, styled

HOSTILE = {
    "clear the screen": ("\x1b[2J", r"\x1b[2J"),
    "set the title": ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
    "a control sequence in one character": ("\u009b31m", r"\x9b31m"),
    "turn the text around": ("\u202emoc", r"\u202emoc"),
    "return to the line's start": ("a\rb", r"a\rb"),
    "another line": ("a\u2028b", r"a\u2028b"),
    "half a character": ("\ud800", r"\ud800"),
    "a tag of rich": ("[red]a[/red]", "[red]a[/red]"),
    "a name": ("Zähler 電 ⚡", "Zähler 電 ⚡"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("style", ["", "bold red"])
def test_a_cell_of_a_table_is_text_and_nothing_else(capsys, text, shown, style):
    print_table(("name",), [(styled(text, style) if style else text,)])
    assert capsys.readouterr().out.splitlines()[1].strip() == shown


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("print_", [say, note])
def test_a_line_is_text_and_nothing_else(capsys, print_, text, shown):
    print_(f"meter 1 ({text})")
    captured = capsys.readouterr()
    assert captured.out + captured.err == f"meter 1 ({shown})\n"


def test_lines_stay_lines(capsys):
    say("one\n  two\n")
    assert capsys.readouterr().out == "one\n  two\n\n"


def test_a_long_text_is_cut_and_its_length_shown(capsys):
    assert printable("x" * 60_000, 10) == "xxxxxxxxxx… (60000 characters)"
    assert printable("\x1b" * 60_000, 10) == r"\x1b\x1b\x… (60000 characters)"
    print_table(("host", "id"), [("h" * 60_000, 1)])
    assert len(capsys.readouterr().out) < 1000
    say("x" * 60_000)
    assert len(capsys.readouterr().out) < 2100


def test_json_keeps_every_character_and_controls_no_terminal(capsys):
    data = {"text": "".join(text for text, _ in HOSTILE.values() if text != "\ud800") + "\x7f", "none": float("nan")}
    print_json(data)
    printed = capsys.readouterr().out
    assert json.loads(printed) == data | {"none": "nan"}
    assert not {*"\x1b\x07\x7f\x9b"} & {*printed}
