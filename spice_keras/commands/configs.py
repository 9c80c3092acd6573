"""`spice configs`: the shipped configurations."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", required=False)
def configs(name: str | None) -> None:
    """List the shipped configurations, or show one."""
    from spice_keras.config.loading import find_config, shipped_configs

    if name is not None:
        click.echo(find_config(name).read_text("utf-8"), nl=False)
        return
    for shipped, path in shipped_configs().items():
        first = path.read_text("utf-8").splitlines()[0].lstrip("# ")
        click.echo(f"{shipped:<22} {first}")
