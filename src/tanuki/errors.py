"""Errors that people may see: each sentence is written for the person who can act on it."""


class UserError(Exception):
    """Something that the person can fix: it says what, where and what was expected.

    Page 400, exit code 2 of a command. `UserError("There is no store %(store)s.", store="chiba")`:
    the text is a msgid, by which it is translated. A text without values is shown as it is.
    """

    status = 400

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message % values if values else message)
        self.message = message
        self.values = values


class NotFound(UserError):
    """It does not exist, or this person may not know that it does. Page 404."""

    status = 404


class NotAllowed(UserError):
    """The person may not do this. Page 403."""

    status = 403


class SignInNeeded(UserError):
    """Nobody is signed in. Pages redirect to the sign-in page; the API answers 401."""

    status = 401


class TooMany(UserError):
    """Too many requests in a time. Page 429. The sentence has the wait as %(seconds)s."""

    status = 429

    @property
    def seconds(self) -> int:
        """The seconds to wait."""
        return int(str(self.values.get("seconds", 1)))


class Stale(UserError):
    """It has changed since the program read it (If-Match). Page 412."""

    status = 412


class Conflict(UserError):
    """Somebody else changed it meanwhile, or its state does not allow this. Page 409."""

    status = 409
