"""The language of sentences in a command's rows, chosen by an option."""

from pathlib import Path

import click

import tanuki.shop
from tanuki.i18n import DEFAULT_LANG, LANGS, Texts, Translate, english

LOCALE = Path(tanuki.shop.__file__).parent / "web" / "locale"

lang_option = click.option(
    "--lang",
    type=click.Choice(list(LANGS)),
    default=DEFAULT_LANG,
    show_default=True,
    help="Language of the sentences.",
)


def load_translator(lang: str) -> Translate:
    return english if lang == DEFAULT_LANG else Texts([LOCALE]).translator(lang)
