"""Build the documentation: ``python -m diffconsole.docs -o site``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from diffconsole.docs.site import build
from diffconsole.errors import DiffconsoleError


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("site"),
    show_default=True,
    help="Folder for the site; what lies there is replaced.",
)
def main(output: Path) -> None:
    """Build the documentation's site; any broken link or missing reference is an error.

    Example: python -m diffconsole.docs -o site
    """
    try:
        build(output)
    except DiffconsoleError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    click.echo(output / "index.html")


main()
