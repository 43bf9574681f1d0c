"""Two languages: texts from .po files read at start, and numbers, yen, days and moments as each language writes them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from tanuki.errors import UserError

LANGS = {"en": "English", "ja": "日本語"}
DEFAULT = "en"
TOKYO = ZoneInfo("Asia/Tokyo")
DAY = {"en": "EEE d MMM y", "ja": "y年M月d日(E)"}
MOMENT = {"en": "d MMM y, HH:mm", "ja": "y年M月d日 HH:mm"}
DATE = {"en": "d MMM y", "ja": "y年M月d日"}
MONTH = {"en": "MMMM y", "ja": "y年M月"}
JUST_NOW = {"en": "just now", "ja": "たった今"}
YEN = {"en": "¥{}", "ja": "{}円"}
NOTHING = "–"
DAY_SECONDS = 86_400


Translate = Callable[..., str]
"""`say(text, **values)`: a msgid in the reader's language, with its values filled in."""


def english(text: str, **values: object) -> str:
    """The translator of the language that the msgids are written in."""
    return text % values if values else text


def msgid(text: str) -> str:
    """The text itself: marks what is translated later, such as a menu's title."""
    return text


class Texts:
    """Every text in every language. English is the key, so only the other languages have files: `<lang>.po` in each folder."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.texts: dict[str, dict[str, str]] = {lang: {} for lang in LANGS}
        for folder in folders:
            for file in sorted(folder.glob("*.po")):
                self.texts[file.stem].update(read(file))

    def text(self, lang: str, text: str) -> str:
        """A text in a language; where no translation is known, the English itself."""
        return self.texts[lang].get(text, text)

    def plural(self, lang: str, one: str, many: str, count: int) -> str:
        """The text for that many. Japanese has one form, kept under the English singular."""
        return self.texts[lang].get(one, one if count == 1 else many)

    def fill(self, lang: str, text: str, values: Mapping[str, object]) -> str:
        """A text in a language with its values filled in; a text without values stands as it is."""
        return self.text(lang, text) % values if values else self.text(lang, text)

    def say(self, lang: str, text: str, **values: object) -> str:
        """The same for templates, for a text that is not written in them: `say(entry.title)`."""
        return self.fill(lang, text, values)

    def translator(self, lang: str) -> Translate:
        """`say(text, **values)` for one language: what domain functions that render text take."""
        return partial(self.say, lang)

    def error(self, lang: str, error: UserError) -> str:
        """What a UserError says, in a language."""
        return self.fill(lang, error.message, error.values)


def read(file: Path) -> dict[str, str]:
    """English to translation; for plurals the singular leads to the only form that our other languages have."""
    with file.open("rb") as opened:
        catalog = read_po(opened, locale=file.stem)
    found = {}
    for message in catalog:
        key, translation = first(message.id), first(message.string)
        if key and translation and not message.fuzzy:
            found[key] = translation
    return found


def first(forms: str | Sequence[str] | None) -> str:
    """The only form of a text, or the first of several."""
    return forms if isinstance(forms, str) else (forms or [""])[0]


@lru_cache(maxsize=1_000)
def from_header(accept_language: str) -> str:
    """The first of our languages that a browser asks for."""
    wanted: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), tag.strip().lower().split("-")[0]))
        except ValueError:
            continue
    return next(
        (tag for _, tag in sorted(wanted, key=lambda each: each[0]) if tag in LANGS), DEFAULT
    )


def filters(lang: str) -> dict[str, Any]:
    """The formats of a language, by the names that templates use."""
    locale = Locale.parse(lang)

    @lru_cache(maxsize=10_000)
    def n(value: float | None, digits: int = 0) -> str:
        """A number with thousands separators and so many digits after the point."""
        return (
            NOTHING
            if value is None
            else format_decimal(
                value, format="#,##0" + ("." + "0" * digits if digits else ""), locale=locale
            )
        )

    def yen(value: float | None) -> str:
        return NOTHING if value is None else YEN[lang].format(n(value)).replace("¥-", "-¥")

    def pct(value: float | None, digits: int = 0) -> str:
        """A share, 0.123, as 12 %."""
        return (
            NOTHING
            if value is None
            else format_percent(
                value, format="#,##0" + ("." + "0" * digits if digits else "") + "%", locale=locale
            )
        )

    def day(value: date | None) -> str:
        return NOTHING if value is None else format_date(value, format=DAY[lang], locale=locale)

    def moment(value: datetime | None) -> str:
        """A moment in Asia/Tokyo."""
        return (
            NOTHING
            if value is None
            else format_datetime(value, format=MOMENT[lang], tzinfo=TOKYO, locale=locale)
        )

    def month(value: datetime | None) -> str:
        """A month in Asia/Tokyo."""
        return (
            NOTHING
            if value is None
            else format_datetime(value, format=MONTH[lang], tzinfo=TOKYO, locale=locale)
        )

    def ago(value: datetime | None, now: datetime | None = None) -> str:
        """How long ago a moment of the last week was; the day of an earlier one."""
        if value is None:
            return NOTHING
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
        return format_date(value, format=DATE[lang], locale=locale)

    return {
        "n": n,
        "yen": yen,
        "pct": pct,
        "day": day,
        "moment": moment,
        "month": month,
        "ago": ago,
    }
