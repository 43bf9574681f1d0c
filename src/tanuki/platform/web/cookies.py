"""Cookies of the site: their names and attributes, and the signed flash message."""

from dataclasses import dataclass
from hashlib import sha256

from fastapi import Request
from fastapi.responses import Response
from itsdangerous import BadSignature, URLSafeSerializer

FLASH_SECONDS = 60
YEAR_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True)
class Cookies:
    """The site's cookies: scripts cannot read them, other sites' forms do not send them."""

    https: bool

    def name(self, key: str) -> str:
        """The cookie's full name. Over HTTPS the prefix keeps other hosts from setting it."""
        return f"__Host-tanuki-{key}" if self.https else f"tanuki-{key}"

    def get(self, request: Request, key: str) -> str:
        """The cookie's value, or an empty text."""
        return request.cookies.get(self.name(key), "")

    def set(
        self, response: Response, key: str, value: str, *, max_age_seconds: int | None = None
    ) -> None:
        response.set_cookie(
            self.name(key),
            value,
            max_age=max_age_seconds,
            path="/",
            httponly=True,
            samesite="lax",
            secure=self.https,
        )

    def delete(self, response: Response, key: str) -> None:
        response.delete_cookie(
            self.name(key), path="/", httponly=True, samesite="lax", secure=self.https
        )


def sign_flash(secret: str, message: str) -> str:
    """The message as a cookie value that only a browser with this session's secret can show."""
    value = flash_serializer(secret).dumps(message)
    assert isinstance(value, str)
    return value


def read_flash(secret: str, cookie: str) -> str | None:
    """The message in a flash cookie, or None if there is none or its signature is wrong."""
    try:
        return str(flash_serializer(secret).loads(cookie)) if cookie else None
    except BadSignature:
        return None


def flash_serializer(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(secret, salt="flash", signer_kwargs={"digest_method": sha256})
