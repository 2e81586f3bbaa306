"""Command groups that import a command only when it is called, so that pandas or SQLAlchemy do not delay others."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.cli.groups import CommandGroup

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyGroup(CommandGroup):
    """A group with further commands: a mapping from name to `module:command`, relative to this package."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, sorted."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, which is imported now if necessary; None for an unknown name."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, name = self._lazy[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"{__package__}.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return name, command and further arguments; the error for an unknown command suggests lazy ones as well."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as err:
            raise click.NoSuchCommand(err.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None
