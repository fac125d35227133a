"""A Click group that imports a command's module when the command is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands live one a module: command ``x`` is the object ``x`` of the module ``.x``.

    Args:
        modules: command name to the module that holds it, relative to this package, in the order of ``--help``.
    """

    def __init__(self, *args: Any, modules: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.modules = modules

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.modules:
            return None
        module = import_module(self.modules[name], __package__)
        command: click.Command = module.command
        return command
