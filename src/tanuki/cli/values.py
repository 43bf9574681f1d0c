"""Values of command line arguments."""

from datetime import datetime

from tanuki.errors import UserError
from tanuki.i18n import TOKYO


def parse_moment(text: str | None) -> datetime | None:
    """An ISO 8601 moment, or None without a text. Without a zone it is a time in Tokyo."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(
            "%(text)s is not a moment. Expected one such as 2021-01-11T10:00+09:00.", text=text
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=TOKYO)
