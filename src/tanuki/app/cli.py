"""Every command of Tanuki, one line each; a command's code is imported only when it is called."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tanuki import settings
from tanuki.cli.lazy_group import LazyGroup, translate_command
from tanuki.cli.main import run_command_line
from tanuki.i18n import DEFAULT_LANG, Texts, english
from tanuki.platform.commands.context import TanukiCommandLine

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources

PACKAGE = Path(__file__).parents[1]
SYSTEMS = ("platform", "shop", "animals")
LOCALES = [PACKAGE / system / "web" / "locale" for system in SYSTEMS]
SHOP_HELP = "AI Shop: sales in, order quantities out, people in the loop."
ANIMALS_HELP = "AI Animals: a photo community for animals."
SHOP = {
    "import": (
        "tanuki.shop.commands.data:import_",
        "Import sales, master data, prices, stock, promotions, deliveries.",
    ),
    "quarantine": (
        "tanuki.shop.commands.data:quarantine",
        "List, fix or drop rows that failed validation.",
    ),
    "sales": (
        "tanuki.shop.commands.data:sales",
        "Show sales by day, week or month, by region, store or item.",
    ),
    "week": (
        "tanuki.shop.commands.week:week",
        "Run the weekly cycle of a week, and show its state.",
    ),
    "forecasts": (
        "tanuki.shop.commands.week:forecasts",
        "Show a week's forecasts and proposed orders.",
    ),
    "orders": (
        "tanuki.shop.commands.week:orders",
        "Show, change and release order lines; cancel and reissue purchase orders.",
    ),
    "confirm": ("tanuki.shop.commands.week:confirm", "Confirm a store's orders for a week."),
    "evaluate": (
        "tanuki.shop.commands.week:evaluate",
        "Evaluate a week's orders, once its sales are known.",
    ),
    "fva": (
        "tanuki.shop.commands.alerts:fva",
        "Show the forecast value added by people's changes.",
    ),
    "alerts": (
        "tanuki.shop.commands.alerts:alerts",
        "Run the monitoring, and list the open alerts.",
    ),
    "close-alert": ("tanuki.shop.commands.alerts:close_alert", "Close an alert, with the reason."),
    "backtest": (
        "tanuki.shop.commands.models:backtest",
        "Forecast past weeks with what was known then, and score the forecasts.",
    ),
    "train": (
        "tanuki.shop.commands.models:train",
        "Train a model, register and evaluate it; on GO it becomes the champion.",
    ),
    "compare-published": (
        "tanuki.shop.commands.models:compare_published",
        "Compare our forecast with a published one: same week, same cut-off.",
    ),
    "simulate": (
        "tanuki.shop.commands.simulate:simulate",
        "Simulate order policies week by week against true demand, and their costs.",
    ),
    "example": (
        "tanuki.shop.commands.example:example",
        "Create the example chain: ten stores with three years of sales.",
    ),
}
ANIMALS = {
    "import": ("tanuki.animals.commands.community:import_", "Post a folder of photos."),
    "search": (
        "tanuki.animals.commands.community:search",
        "Search published posts in Japanese or English.",
    ),
    "embed": (
        "tanuki.animals.commands.image_model:embed",
        "Compute the missing embeddings with the image model.",
    ),
    "classify": (
        "tanuki.animals.commands.image_model:classify",
        "Compare every post's category with the image model's prediction.",
    ),
    "similar": (
        "tanuki.animals.commands.similarity:similar",
        "Find posts with similar photos: to a post, to a file, or of all posts.",
    ),
    "train": (
        "tanuki.animals.commands.similarity:train",
        "Build a new index of similar photos; on GO it goes live.",
    ),
    "reindex": (
        "tanuki.animals.commands.community:reindex",
        "Rebuild the search index; with --pictures the index of similar photos, too.",
    ),
    "banned-words": (
        "tanuki.animals.commands.banned_words:banned_words",
        "List, ban and allow words that hold a post for a moderator.",
    ),
    "audit-log": (
        "tanuki.animals.commands.community:show_audit_log",
        "Show the moderators' audit log, and whether it was altered.",
    ),
    "example": (
        "tanuki.animals.commands.community:example",
        "Create the example community: photos, members, weeks of activity.",
    ),
}
TANUKI = {
    "example": (
        "tanuki.app.example:example",
        "Create both example worlds, then run the web server and a worker.",
    ),
    "up": ("tanuki.app.processes:up", "Run the web server and a worker in one process."),
    "serve": ("tanuki.app.processes:serve", "Run the web server alone."),
    "worker": (
        "tanuki.app.processes:worker",
        "Run a worker alone: schedules, queues, durable runs.",
    ),
    "shop": ("tanuki.app.cli:shop", SHOP_HELP),
    "animals": ("tanuki.app.cli:animals", ANIMALS_HELP),
    "jobs": ("tanuki.platform.commands.jobs:jobs", "Durable runs: list, show, cancel, resume."),
    "users": (
        "tanuki.platform.commands.users:users",
        "Accounts: add, list, disable, roles, passwords, API tokens.",
    ),
    "sql": ("tanuki.platform.commands.data:sql", "Query the warehouse."),
    "warehouse": (
        "tanuki.platform.commands.data:warehouse",
        "The warehouse's Parquet files: their folder, and leftovers of crashes.",
    ),
    "models": (
        "tanuki.platform.commands.models:models",
        "Models: serve, list, evaluate, release, roll back.",
    ),
    "mlflow": ("tanuki.platform.commands.data:mlflow", "The model registry's own pages."),
    "db": ("tanuki.app.schema:db", "The database's schema: upgrade, revision."),
    "settings": (
        "tanuki.app.processes:settings",
        "Show every setting: name, value, default, help.",
    ),
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


def create_command_line(lang: str = DEFAULT_LANG) -> TanukiCommandLine:
    """The context object of every command: its language, and the engines when it asks for them."""
    say = english if lang == DEFAULT_LANG else Texts(LOCALES).translator(lang)
    return TanukiCommandLine(say=say, create_resources=open_engines, run_worker=run_worker)


@contextmanager
def open_engines() -> "Iterator[Resources]":
    from tanuki.app import bootstrap  # heavy: `tanuki --help` must not wait for it

    res = bootstrap.create_resources(settings.read_settings())
    try:
        yield res
    finally:
        bootstrap.close_resources(res)


def run_worker(res: "Resources") -> "AbstractContextManager[None]":
    from tanuki.app import processes  # heavy, as above

    return processes.run_worker(res, schedules=False)


if __name__ == "__main__":
    main()
