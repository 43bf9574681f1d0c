"""`tanuki example`: both example worlds, then `tanuki up`; what `make run` does."""

import click

from tanuki.animals.commands.community import example as animals_example
from tanuki.app.processes import run_worker, serve_pages
from tanuki.cli.output import collect_passwords
from tanuki.platform.commands.context import open_resources
from tanuki.shop.commands.example import example as shop_example


@click.command(
    help="Make the example worlds of AI Shop and AI Animals, then run `tanuki up`. At the end it"
    " prints what to open, and how to sign in."
)
@click.pass_context
def example(context: click.Context) -> None:
    passwords = collect_passwords()
    context.invoke(shop_example)
    context.invoke(animals_example)
    with open_resources() as res, run_worker(res):
        serve_pages(res, passwords)
