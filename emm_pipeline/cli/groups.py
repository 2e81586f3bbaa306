"""Command groups that accept options before and after a command's name."""

from __future__ import annotations

from typing import Any

import click


class CommandGroup(click.Group):
    """A group in which the options of a command are also accepted before its name: `emm meters --json list`.

    The options in `anywhere`, each with a value, belong to the group and are also accepted after the command's name.
    """

    anywhere: tuple[str, ...] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments after bringing the options into the order that Click needs."""
        return super().parse_args(ctx, self._ordered(ctx, _to_the_front(args, self.anywhere)))

    def _ordered(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move the options before the command that are not the group's behind its name."""
        own: dict[str, Any] = {
            name: each for each in self.get_params(ctx) for name in (*each.opts, *each.secondary_opts)
        }
        commands = set(self.list_commands(ctx))
        kept: list[str] = []
        moved: list[str] = []
        index = 0
        while index < len(args) and args[index] not in commands:
            word = args[index]
            option = own.get(word.partition("=")[0])
            if word == "--" or not (option or moved or word.startswith("-")):
                return args  # an unknown command, which Click reports
            takes_next = option is not None and not getattr(option, "is_flag", False) and "=" not in word
            length = 2 if takes_next and not getattr(option, "count", False) and word.startswith("-") else 1
            (kept if option else moved).extend(args[index : index + length])
            index += length
        if index >= len(args) or not moved:
            return args
        return [*kept, args[index], *moved, *args[index + 1 :]]


def _to_the_front(args: list[str], names: tuple[str, ...]) -> list[str]:
    """Move options with a value, and these values, before all other arguments."""
    front: list[str] = []
    others: list[str] = []
    index = 0
    while index < len(args):
        word = args[index]
        if word == "--":
            others += args[index:]
            break
        is_wanted = word.partition("=")[0] in names
        length = 2 if is_wanted and "=" not in word else 1
        (front if is_wanted else others).extend(args[index : index + length])
        index += length
    return [*front, *others]
