"""What people may be shown: errors whose message is written for the person who can act on it."""


class UserError(Exception):
    """The person can fix it: the message says what, where and what was expected. Page 400, command exit 2.

    `UserError("There is no store %(store)s.", store="chiba")`: the text is the key by which pages translate it; a text without values is shown as it stands.
    """

    status = 400

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message % values if values else message)
        self.message = message
        self.values = values


class NotFound(UserError):
    """There is no such thing, or it is not this person's: both look the same. Page 404."""

    status = 404


class NotAllowed(UserError):
    """The person is known but may not do this. Page 403."""

    status = 403


class SignInNeeded(UserError):
    """Nobody is signed in. Pages go to the sign-in page; the API answers 401."""

    status = 401


class TooMany(UserError):
    """Too many tries in too short a time. Page 429. The sentence says how many seconds to wait, as %(seconds)s."""

    status = 429

    @property
    def seconds(self) -> int:
        """How long to wait."""
        return int(str(self.values.get("seconds", 1)))


class Stale(UserError):
    """It is not what the program says that it has seen. Page 412."""

    status = 412


class Conflict(UserError):
    """Somebody else changed it meanwhile, or it is no longer in the state that allows this. Page 409."""

    status = 409
