"""HTTP headers of the API beside entity tags: idempotency keys and rate limits."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Header, Response

from tanuki.errors import UserError
from tanuki.platform.rate_limit import RateLimitState

MAX_IDEMPOTENCY_KEY_LENGTH = 80


async def check_idempotency_key(
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            description="Chosen by the sender for this one request, such as a UUID: "
            "the same key again has no further effect and gives the same answer.",
            json_schema_extra={
                "minLength": 1,
                "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH,
                "pattern": f"^[!-~]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}$",
            },
            examples=["7f2c1f5e-8f5b-4a1e-9d55-0d6a3c6f4b2a"],
        ),
    ],
) -> str:
    """The request's Idempotency-Key (IETF draft). Raises UserError for a malformed one."""
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH or not all(
        "!" <= char <= "~" for char in key
    ):
        raise UserError(
            "An Idempotency-Key has 1 to %(length)s visible characters.",
            length=MAX_IDEMPOTENCY_KEY_LENGTH,
        )
    return key


IdempotencyKey = Annotated[str, Depends(check_idempotency_key)]


def set_rate_limit_headers(response: Response, states: Iterable[RateLimitState]) -> None:
    response.headers.update(rate_limit_headers(states))


def rate_limit_headers(states: Iterable[RateLimitState]) -> dict[str, str]:
    """RateLimit-Policy and RateLimit (IETF draft); none when no limit was counted."""
    states = list(states)
    if not states:
        return {}
    return {
        "RateLimit-Policy": ", ".join(
            f'"{state.limit.name}";q={state.limit.max_uses};w={state.limit.window_seconds}'
            for state in states
        ),
        "RateLimit": ", ".join(
            f'"{state.limit.name}";r={state.remaining};t={state.reset_seconds}' for state in states
        ),
    }
