"""Two languages: texts from .po files, and each language's numbers, yen, days and moments."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from tanuki.errors import UserError

LANGS = {"en": "English", "ja": "日本語"}
DEFAULT_LANG = "en"
TOKYO = ZoneInfo("Asia/Tokyo")
DAY_FORMATS = {"en": "EEE d MMM y", "ja": "y年M月d日(E)"}
MOMENT_FORMATS = {"en": "d MMM y, HH:mm", "ja": "y年M月d日 HH:mm"}
DATE_FORMATS = {"en": "d MMM y", "ja": "y年M月d日"}
MONTH_FORMATS = {"en": "MMMM y", "ja": "y年M月"}
JUST_NOW = {"en": "just now", "ja": "たった今"}
YEN_FORMATS = {"en": "¥{}", "ja": "{}円"}
NO_VALUE = "–"
DAY_SECONDS = 86_400


Formatter = Callable[..., str]
"""A template filter, such as `value | yen`."""

Translate = Callable[..., str]
"""`say(text, **values)`: a msgid in the reader's language, with its values filled in."""


def english(text: str, **values: object) -> str:
    """The translator of the language that the msgids are written in."""
    return text % values if values else text


def msgid(text: str) -> str:
    """The text itself: marks what is translated later, such as a menu's title."""
    return text


class Texts:
    """Every text in every language, from the files `<lang>.po` in some folders.

    English has no file: the English text is the key (the msgid).
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.texts: dict[str, dict[str, str]] = {lang: {} for lang in LANGS}
        for folder in folders:
            for file in sorted(folder.glob("*.po")):
                self.texts[file.stem].update(read_catalog(file))

    def translate(self, lang: str, text: str) -> str:
        """A text in a language; without a translation, the English text."""
        return self.texts[lang].get(text, text)

    def translate_plural(self, lang: str, one: str, many: str, count: int) -> str:
        """The text for a count. Japanese has one form, stored under the English singular."""
        return self.texts[lang].get(one, one if count == 1 else many)

    def translate_with_values(self, lang: str, text: str, values: Mapping[str, object]) -> str:
        """A text in a language with its values filled in; without values, as it is."""
        return self.translate(lang, text) % values if values else self.translate(lang, text)

    def say(self, lang: str, text: str, **values: object) -> str:
        """The same for templates: `say(entry.title)` translates a text that stands elsewhere."""
        return self.translate_with_values(lang, text, values)

    def translator(self, lang: str) -> Translate:
        """`say(text, **values)` for one language: the argument of functions that render text."""
        return partial(self.say, lang)

    def render_error(self, lang: str, error: UserError) -> str:
        """The sentence of a UserError in a language."""
        return self.translate_with_values(lang, error.message, error.values)


def read_catalog(file: Path) -> dict[str, str]:
    """Translations by msgid, without fuzzy ones; of plurals, the first form by the singular."""
    with file.open("rb") as opened:
        catalog = read_po(opened, locale=file.stem)
    translations = {}
    for message in catalog:
        key, translation = first_form(message.id), first_form(message.string)
        if key and translation and not message.fuzzy:
            translations[key] = translation
    return translations


def first_form(forms: str | Sequence[str] | None) -> str:
    """The first of a text's plural forms."""
    return forms if isinstance(forms, str) else (forms or [""])[0]


@lru_cache(maxsize=1_000)
def negotiate_language(accept_language: str) -> str:
    """The language of ours that a browser prefers; English if it asks for neither."""
    preferences: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            preferences.append((-float(quality or 1), tag.strip().lower().split("-")[0]))
        except ValueError:
            continue
    tags = [tag for _, tag in sorted(preferences, key=lambda preference: preference[0])]
    return next((tag for tag in tags if tag in LANGS), DEFAULT_LANG)


def create_formatters(lang: str) -> dict[str, Formatter]:
    """The formatters of a language by the names of the template filters."""
    locale = Locale.parse(lang)

    @lru_cache(maxsize=10_000)
    def n(value: float | None, digits: int = 0) -> str:
        """A number with thousands separators and `digits` decimals."""
        return (
            NO_VALUE
            if value is None
            else format_decimal(
                value, format="#,##0" + ("." + "0" * digits if digits else ""), locale=locale
            )
        )

    def yen(value: float | None) -> str:
        return NO_VALUE if value is None else YEN_FORMATS[lang].format(n(value)).replace("¥-", "-¥")

    def pct(value: float | None, digits: int = 0) -> str:
        """A share: 0.123 is 12 %."""
        return (
            NO_VALUE
            if value is None
            else format_percent(
                value, format="#,##0" + ("." + "0" * digits if digits else "") + "%", locale=locale
            )
        )

    def day(value: date | None) -> str:
        if value is None:
            return NO_VALUE
        return format_date(value, format=DAY_FORMATS[lang], locale=locale)

    def moment(value: datetime | None) -> str:
        """A moment in Asia/Tokyo."""
        return (
            NO_VALUE
            if value is None
            else format_datetime(value, format=MOMENT_FORMATS[lang], tzinfo=TOKYO, locale=locale)
        )

    def month(value: datetime | None) -> str:
        """A month in Asia/Tokyo."""
        return (
            NO_VALUE
            if value is None
            else format_datetime(value, format=MONTH_FORMATS[lang], tzinfo=TOKYO, locale=locale)
        )

    def ago(value: datetime | None, now: datetime | None = None) -> str:
        """How long ago a moment of the last week was; for an earlier one, its day."""
        if value is None:
            return NO_VALUE
        seconds = ((now or datetime.now(UTC)) - value).total_seconds()
        unit = next((unit for unit in (DAY_SECONDS, 3600, 60) if seconds >= unit), None)
        if unit is None:
            return JUST_NOW[lang]
        if seconds < 7 * DAY_SECONDS:
            return past(int(seconds // unit) * unit)
        return date_of(value.astimezone(TOKYO).date())

    @lru_cache(maxsize=1_000)
    def past(seconds: int) -> str:
        return format_timedelta(
            -timedelta(seconds=seconds),
            add_direction=True,
            format="narrow",
            threshold=1,
            locale=locale,
        )

    @lru_cache(maxsize=10_000)
    def date_of(value: date) -> str:
        return format_date(value, format=DATE_FORMATS[lang], locale=locale)

    return {
        "n": n,
        "yen": yen,
        "pct": pct,
        "day": day,
        "moment": moment,
        "month": month,
        "ago": ago,
    }
