"""Passwords: validation, hashing and comparison; and digests of deleted accounts' names. Pure."""

import hashlib
import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from tanuki.errors import UserError

MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 1_000  # hashing an endless text would be an attack
MIN_DIFFERENT_CHARS = 5

# Guessed first, with all kinds of digits and signs between and around: 1q2w3e4r5t, Password123!
COMMON_WORD_LIST = """
    a abc abcd abcde abcdef abcdefg abcdefgh abcdefghij admin administrator asdf asdfg asdfgh
    asdfghjkl baseball basketball changeme dragon football iloveyou letmein login monkey pass passwd
    password passwrd pasword princess psswrd q qaz qazwsx qazwsxedc qwe qweasd qweasdzxc qwer qwert
    qwerty qwertyuiop sakura sunshine superman tanuki welcome zaqwsx zaqxsw zxcvbn zxcvbnm
"""
COMMON_PASSWORDS = frozenset(["", *COMMON_WORD_LIST.split()])


def validate_password(password: str, name: str) -> None:
    """Raises UserError for a password that is too short, too long, common, or the name."""
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise UserError(
            "A password needs at least %(length)s characters.", length=MIN_PASSWORD_CHARS
        )
    folded = normalize_password(password).strip().casefold()
    if folded == name or only_letters(folded) == only_letters(name) != "":
        raise UserError("The password must not be the name, nor the name with numbers around it.")
    if len(set(folded)) < MIN_DIFFERENT_CHARS or only_letters(folded) in COMMON_PASSWORDS:
        raise UserError(
            "That password is among the first that anybody would guess. Please choose another one,"
            " such as four words that do not belong together."
        )


def only_letters(text: str) -> str:
    """A text without digits, signs and spaces."""
    return "".join(filter(str.isalpha, text))


def normalize_password(password: str) -> str:
    """A password as it is hashed: the same characters of another keyboard are the same password."""
    return unicodedata.normalize("NFKC", password)


def generate_password() -> str:
    """A random password of 96 bits."""
    return secrets.token_urlsafe(12)


def hash_password(password: str) -> str:
    return password_hasher().hash(normalize_password(password))


def verify_password(password_hash: str, password: str) -> bool:
    try:
        return password_hasher().verify(
            password_hash, normalize_password(password[:MAX_PASSWORD_CHARS])
        )
    except VerifyMismatchError:
        return False


def needs_rehash(password_hash: str) -> bool:
    """Whether a hash was made with older parameters than today's."""
    return password_hasher().check_needs_rehash(password_hash)


@cache
def password_hasher() -> PasswordHasher:
    """Argon2id with the library's current parameters."""
    return PasswordHasher()


@cache
def unmatchable_hash() -> str:
    """A hash that no password fits. Comparing with it makes an unknown name take as long."""
    return password_hasher().hash(secrets.token_urlsafe(32))


def digest_name(name: str) -> str:
    """A deleted account's name as it is stored: slow to compute, so trying all names is costly."""
    salt = b"tanuki: names of people who left"
    return hashlib.scrypt(name.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32).hex()
