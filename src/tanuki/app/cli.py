"""Every command of Tanuki, one line each; a command's code is imported only when it is called."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tanuki import settings
from tanuki.cli.lazy_group import LazyGroup, translate_command
from tanuki.cli.main import run_command_line
from tanuki.i18n import DEFAULT, Texts, english
from tanuki.platform.commands.context import TanukiCommandLine

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources

PACKAGE = Path(__file__).parents[1]
LOCALES = [PACKAGE / system / "web" / "locale" for system in ("platform", "shop", "animals")]
SHOP_HELP = "AI Shop: sales in, order quantities out, people in the loop."
ANIMALS_HELP = "AI Animals: a photo community for animals."
SHOP = {
    "import": (
        "tanuki.shop.commands.data:import_",
        "Bring in sales, masters, prices, stock, promotions, deliveries.",
    ),
    "quarantine": (
        "tanuki.shop.commands.data:quarantine",
        "Rows that could not be believed: list, fix, drop.",
    ),
    "sales": (
        "tanuki.shop.commands.data:sales",
        "Sales by day, week or month, by region, store, item.",
    ),
    "week": (
        "tanuki.shop.commands.week:week",
        "Run the weekly cycle for a week, and show where it stands.",
    ),
    "forecasts": (
        "tanuki.shop.commands.week:forecasts",
        "What was forecast and proposed for a week.",
    ),
    "orders": (
        "tanuki.shop.commands.week:orders",
        "Order lines and purchase orders: show, change, release, cancel, issue again.",
    ),
    "confirm": ("tanuki.shop.commands.week:confirm", "Confirm a store's orders for a week."),
    "evaluate": (
        "tanuki.shop.commands.week:evaluate",
        "What a week's orders were worth, once its sales are known.",
    ),
    "added-value": (
        "tanuki.shop.commands.alerts:added_value",
        "What people's changes were worth, by person, item, store or stage.",
    ),
    "watch": (
        "tanuki.shop.commands.alerts:watch",
        "Look for what is not as it should be, and list the open alarms.",
    ),
    "alarms": ("tanuki.shop.commands.alerts:alarms", "Close an alarm."),
    "backtest": (
        "tanuki.shop.commands.models:backtest",
        "Forecast past weeks with only what was known then, and score it.",
    ),
    "train": (
        "tanuki.shop.commands.models:train",
        "Train a model, register it, and on the gate's GO make it the champion.",
    ),
    "gate": (
        "tanuki.shop.commands.models:gate",
        "Judge a registered version: GO or NO-GO, with a sentence for each reason.",
    ),
    "release": (
        "tanuki.shop.commands.models:release",
        "Make a version the champion: on its GO, or by a person's own decision.",
    ),
    "rollback": (
        "tanuki.shop.commands.models:rollback",
        "Back to the version that was live before.",
    ),
    "releases": (
        "tanuki.shop.commands.models:releases",
        "What went live and why; what the gate found.",
    ),
    "published": (
        "tanuki.shop.commands.models:published",
        "Our forecast beside one published for the same week, same cut-off.",
    ),
    "simulate": (
        "tanuki.shop.commands.simulate:simulate",
        "Policies lived through week by week against true demand, and what they cost.",
    ),
    "example": (
        "tanuki.shop.commands.example:example",
        "Make the example world: a chain with three years of sales.",
    ),
}
ANIMALS = {
    "import": ("tanuki.animals.commands.community:import_", "Post a folder of photos."),
    "search": (
        "tanuki.animals.commands.community:search",
        "Search the published posts by words, Japanese or English.",
    ),
    "embed": (
        "tanuki.animals.commands.image_model:embed",
        "Let the eyes look at every picture that they have not looked at.",
    ),
    "classify": (
        "tanuki.animals.commands.image_model:classify",
        "What the eyes take every post for, beside what its owner says.",
    ),
    "similar": (
        "tanuki.animals.commands.similarity:similar",
        "Posts with similar pictures: to a post, to a file, of all.",
    ),
    "train": (
        "tanuki.animals.commands.similarity:train",
        "Make the index of similar pictures anew, and on the gate's GO let it answer.",
    ),
    "reindex": (
        "tanuki.animals.commands.community:reindex",
        "Index the words of every published post anew; with --pictures their pictures, too.",
    ),
    "words": (
        "tanuki.animals.commands.banned_words:words",
        "Words that hold a post for a moderator: list, ban, allow.",
    ),
    "trail": (
        "tanuki.animals.commands.community:trail",
        "What moderators did, and whether the trail was changed.",
    ),
    "example": (
        "tanuki.animals.commands.community:example",
        "Make the example network: photos, members, weeks of their life.",
    ),
}
TANUKI = {
    "up": ("tanuki.app.processes:up", "Web server and worker in one process."),
    "serve": ("tanuki.app.processes:serve", "The web server alone."),
    "worker": ("tanuki.app.processes:worker", "A worker alone: schedules, queues, durable work."),
    "shop": ("tanuki.app.cli:shop", SHOP_HELP),
    "animals": ("tanuki.app.cli:animals", ANIMALS_HELP),
    "jobs": ("tanuki.platform.commands.jobs:jobs", "Durable runs: list, show, cancel, resume."),
    "users": (
        "tanuki.platform.commands.users:users",
        "People who may sign in: add, list, disable.",
    ),
    "sql": ("tanuki.platform.commands.data:sql", "Ask the warehouse."),
    "warehouse": (
        "tanuki.platform.commands.data:warehouse",
        "Where the warehouse's Parquet files are; tidy them.",
    ),
    "models": (
        "tanuki.platform.commands.models:models",
        "Models: serve those that are live, list, release, watch, go back.",
    ),
    "mlflow": ("tanuki.platform.commands.data:mlflow", "The model registry's own pages."),
    "db": ("tanuki.app.schema:db", "The database's schema: upgrade, revision."),
    "settings": ("tanuki.app.processes:settings", "Every setting: name, value, default, help."),
}

shop = LazyGroup("shop", table=SHOP, help=SHOP_HELP)
animals = LazyGroup("animals", table=ANIMALS, help=ANIMALS_HELP)
tanuki = LazyGroup(
    "tanuki", table=TANUKI, help="Tanuki: two machine-learning systems on one small platform."
)


def main() -> None:
    """The command line, in the terminal's language."""
    command_line = create_command_line(settings.terminal_language())
    command = translate_command(tanuki, command_line.say)
    run_command_line(lambda: command(obj=command_line), command_line.say)


def create_command_line(lang: str = DEFAULT) -> TanukiCommandLine:
    """The context object of every command: its language, and the engines when it asks for them."""
    say = english if lang == DEFAULT else Texts(LOCALES).translator(lang)
    return TanukiCommandLine(say=say, create_resources=open_engines, run_worker=run_worker)


@contextmanager
def open_engines() -> "Iterator[Resources]":
    from tanuki.app import bootstrap  # heavy: `tanuki --help` must not wait for it

    res = bootstrap.create_resources(settings.read())
    try:
        yield res
    finally:
        bootstrap.close_resources(res)


def run_worker(res: "Resources") -> "AbstractContextManager[None]":
    from tanuki.app import processes  # heavy, as above

    return processes.run_worker(res, schedules=False)


if __name__ == "__main__":
    main()
