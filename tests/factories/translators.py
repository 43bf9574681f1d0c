"""Translators of both languages, with the texts of both systems."""

from tanuki.app.cli import LOCALES
from tanuki.i18n import Texts, Translate, english

SAY: dict[str, Translate] = {"en": english, "ja": Texts(LOCALES).translator("ja")}
