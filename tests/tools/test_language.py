"""Plain English: words that no document, docstring, comment, message or test name uses, and what to write instead.

Python files are searched in their strings, comments and test names, all other files as a whole.
"""

import re
import subprocess
import tokenize
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from emm_pipeline.settings import PROJECT_ROOT

INSTEAD = {
    r"\btroubles?\b": "failure, or alert",
    r"\bmend(s|ed|ing)?\b": "correct, repair, or patch",
    r"\bnonsense\b": "configuration issue, or invalid data",
    r"\bhindrances?\b": "name what prevents it",
    r"\bnobody\b": "name the actor",
    r"\bnone's\b": "name the actor",
    r"\bstands?\b(?!-| (for|out)\b)": "is",
    r"\b(is|are|was|were) (not )?well\b(?! (below|above|within|known))": "OK, has succeeded, or FAILED",
    r"\bwell again\b": "has recovered",
    r"\blongest time\b": "max_runtime",
    r"\bnot asked for\b": "unsolicited",
    r"\blook at (the )?unit id\b": "check the unit id",
    r"\bfor good\b": "permanently",
    r"\bnext discovery on\b": "first reading within two minutes",
    r"\b(made|brought) (or brought )?up to date\b": "is up to date",
    r"\bodd size\b": "name the size and what is allowed",
    r"\bwhat is said\b": "report",
    r"\bkeeps nothing from\b": "does not prevent",
    r"\bcosts? (no other|nobody|nothing)\b": "does not affect",
    r"\banew\b": "again",
    r"\bslaves?\b": "unit id",
    r"\brefusals?\b|\brefused ranges?\b": "unsupported registers",
    r"\bfindings\b|\b(a|the|each|no) finding\b(?! the)": "configuration issue",
    r"\bconclude[sd]?\b": "report results",
    r"\b(file|line|meter|point|register|row|unit)\(s\)": "let singular and plural agree",
    r"\A[rbf]*\"\"\"(what|who) ": "begin a docstring with a noun or a verb, not with a clause",
    r"\b(is|are|was|stays?|were) away\b": "is unavailable",
    r"\b(is|are|was|were) (said|told)\b": "is reported, or prints",
    r"(?<!there )\b(is|are) (?-i:none)\b": "is not a …, or is invalid",
    r"\bgo(es|ing)? on\b": "continues",
    r"\bin flight\b": "in progress",
    r"\bin force\b": "current",
    r"\bby way of\b": "through",
    r"\bleft alone\b": "not changed",
    r"\bmakes? no sense\b": "is invalid, or is implausible",
    r"\bcosts? (no|its|only|the (others?|next))\b": "affects, fails, prevents, or delays",
    r"\bis no (failure|number|secret|text|superuser|fault)\b": "is not a …",
}
"""Patterns, and what to write instead: STYLE's first table, its vocabulary, and words that are never right."""

ALLOWED = {
    r"((CREATE|ALTER) TABLE|INSERT INTO) troubles\b": "the former name of a table, in migrations and their test",
    r"\"findings\"": "a key in the output of `emm poll --json`",
}
"""Texts that may contain the words, with the reason."""

GENERATED = re.compile(r"<!-- (made|walkthrough): .*?<!-- end -->", re.DOTALL)
"""Parts of documents that are generated from the code, where they are checked."""

HERE = Path(__file__).relative_to(PROJECT_ROOT).as_posix()


def files() -> list[str]:
    """Return the project's files, also new ones that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    wanted = [name for name in names if name.endswith((".py", ".md", ".toml", ".yml", ".yaml"))]
    return sorted({name for name in wanted if name != HERE and (PROJECT_ROOT / name).exists()})


def texts(name: str, content: str) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file that people read, each with the number of its first line."""
    if not name.endswith(".py"):
        yield 1, GENERATED.sub(lambda block: "\n" * block[0].count("\n"), content)
        return
    for token in tokenize.generate_tokens(StringIO(content).readline):
        is_text = token.type in {tokenize.STRING, tokenize.COMMENT}
        if is_text or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            yield token.start[0], token.string
        elif token.type == tokenize.NAME and token.string.startswith("test_"):
            yield token.start[0], token.string.replace("_", " ")


def violations(name: str, content: str) -> list[str]:
    """Return `file:line: word: what to write instead` for each word that is not plain English."""
    found = []
    for first_line, text in texts(name, content):
        for allowed in ALLOWED:
            text = re.sub(allowed, "", text)  # noqa: PLW2901
        for pattern, instead in INSTEAD.items():
            for match in re.finditer(pattern, text, re.IGNORECASE):
                line = first_line + text.count("\n", 0, match.start())
                found.append(f"{name}:{line}: {match[0]!r}: {instead}")
    return found


def test_every_text_of_the_project_is_plain_english():
    found = [each for name in files() for each in violations(name, (PROJECT_ROOT / name).read_text(encoding="utf-8"))]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        '"""A late reply on it reaches nobody."""',
        '"""It stands."""',
        "# bytes came that were not asked for",
        '"""Mends of Dagster\'s code server"""',
        "# until their longest time is over",
        "# an id that is not there is none's loss",
        '"""what is said, and keeps nothing from the store"""',
        'print(f"3 of {count} meters are well")',
        '"the meter is not well"',
        '"the store is well again"',
        '"look at unit id and wiring"',
        '"For good, with Docker"',
        '"polled from the next discovery on"',
        '"made or brought up to date: revision 0008"',
        'f"{count} register(s) failed"',
        "def test_one_dead_meter_costs_nobody_its_data(): ...",
        '"""The findings of a poll."""',
        '"""What the demo starts."""',
        "# while the store is away",
        '"the reason is said"',
        "def test_ids_that_are_none_are_reported(): ...",
        '"polling goes on"',
        '"a run in flight"',
        '"the credential in force"',
        '"by way of the outbox"',
        '"it is left alone"',
        '"a row that makes no sense"',
        "def test_a_late_run_costs_the_next_tick_nothing(): ...",
        '"it is no number"',
    ],
)
def test_a_text_that_is_not_plain_english_is_found_in_its_line(text):
    assert [each.startswith("a.py:2: ") for each in violations("a.py", f"\n{text}\n")][:1] == [True]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "nobody = slaves + stands  # names in the code are free\n"),
        (
            "a.py",
            '"""A stand-in: letters stand for words, and 10 000 meters are well within two cores."""\n',
        ),
        ("a.py", "meter.slave_address  # the column `slave_address` stays\n"),
        ("a.md", "# Finding the data type\n\n<!-- made: modules -->\n| `rules` | troubles |\n<!-- end -->\n"),
    ],
)
def test_names_ordinary_uses_and_generated_parts_are_accepted(name, text):
    assert violations(name, text) == []
