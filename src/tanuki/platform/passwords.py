"""Passwords: which are refused, how they are hashed and compared; and names of people who left, kept so that they cannot be read back. Pure."""

import hashlib
import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from tanuki.errors import UserError

LENGTH = 10
LONGEST = 1_000  # hashing must not become the attack
FEWEST_DIFFERENT = 5
EASY = """a abc abcd abcde abcdef abcdefg abcdefgh abcdefghij admin administrator asdf asdfg asdfgh asdfghjkl baseball basketball changeme dragon
    football iloveyou letmein login monkey pass passwd password passwrd pasword princess psswrd q qaz qazwsx qazwsxedc qwe qweasd qweasdzxc qwer
    qwert qwerty qwertyuiop sakura sunshine superman tanuki welcome zaqwsx zaqxsw zxcvbn zxcvbnm"""
GUESSED = frozenset(
    ["", *EASY.split()]
)  # tried first, with all digits and signs between and around: 1q2w3e4r5t, Password123!


def check(password: str, name: str) -> None:
    """Refuse a password that is too short, absurdly long, easily guessed, or the name."""
    if not LENGTH <= len(password) <= LONGEST:
        raise UserError("A password needs at least %(length)s characters.", length=LENGTH)
    folded = normal(password).strip().casefold()
    if folded == name or letters(folded) == letters(name) != "":
        raise UserError("The password must not be the name, nor the name with numbers around it.")
    if len(set(folded)) < FEWEST_DIFFERENT or letters(folded) in GUESSED:
        raise UserError(
            "That password is among the first that anybody would guess; choose another one, such as four words that do not belong together."
        )


def letters(text: str) -> str:
    """A text without digits, signs and spaces."""
    return "".join(filter(str.isalpha, text))


def normal(password: str) -> str:
    """A password as it is hashed: the same characters typed on another keyboard are the same password."""
    return unicodedata.normalize("NFKC", password)


def made() -> str:
    """A password nobody guesses."""
    return secrets.token_urlsafe(12)


def hashed(password: str) -> str:
    """What is kept of a password."""
    return hasher().hash(normal(password))


def fits(kept: str, password: str) -> bool:
    """Whether the password is the one that was hashed."""
    try:
        return hasher().verify(kept, normal(password[:LONGEST]))
    except VerifyMismatchError:
        return False


def outdated(kept: str) -> bool:
    """Whether a hash was made with older parameters, so that it should be made anew while the password is at hand."""
    return hasher().check_needs_rehash(kept)


@cache
def hasher() -> PasswordHasher:
    """Argon2id with the library's current parameters."""
    return PasswordHasher()


@cache
def unknown() -> str:
    """A hash that no password fits, checked when there is no such name so that it takes as long."""
    return hasher().hash(secrets.token_urlsafe(32))


def slow_digest(name: str) -> str:
    """What is kept of the name of somebody who left: enough to know it again, and slow, so that trying all names is dear."""
    return hashlib.scrypt(
        name.encode(), salt=b"tanuki: names of people who left", n=2**14, r=8, p=1, dklen=32
    ).hex()
