"""What a query asks for. Each word becomes alternatives of the tokens that words.py gives to texts: シバ, しば, shiba and siba ask for the reading しば, the stem shiba or the sign of 柴犬."""

from typing import NamedTuple

from tanuki.animals.search.japanese import (
    INFLECTED,
    SHORTENED,
    Piece,
    can_be_named,
    codes_of,
    forms,
    pieces,
    token_of,
)
from tanuki.animals.search.kana import hiragana, of_latin, short
from tanuki.animals.search.normalize import TOKEN_LETTERS, Run, folded, stem
from tanuki.animals.search.synonyms import longest, names, sign
from tanuki.animals.search.tokenize import chunks, cut, groups, in_doubt

# English words that could be Japanese in Latin letters; who means the Japanese can type kana.
NOT_ROMAJI = frozenset(
    """bake bite bone came dare date dime dine done dose fine game gate hate here hide hike hire home hope hose joke juice kite like line made make mate mine mode more name
    nine none nose note one pine pipe pose ride rode rose same see shake shine shore shoe site some sore take tame tape tire tone tune use wake wane wide wine wipe wire woke
    zone""".split()  # noqa: SIM905 a table of words
)

Tokens = tuple[str, ...]


class Term(NamedTuple):
    """One thing a query asks for: any of its alternatives, each of which wants all of its tokens."""

    text: str
    alternatives: tuple[Tokens, ...]


def query_terms(text: str) -> list[Term]:
    """What a query asks for; all of it must be found. Words that say nothing are left out; signs and emoji are no words."""
    found: list[Term] = []
    for group in groups(folded(text).text):
        if group[0].kind == "latin":
            found += latin_terms(group)
        elif group[0].kind == "japanese":
            for _, piece, is_name in cut(group[0]):
                found += [name_term(piece)] if is_name else japanese_terms(piece)
        else:
            found.append(term(group[0].text, [(group[0].text[:TOKEN_LETTERS],)]))
    return list({each.alternatives: each for each in found if each.alternatives}.values())


def latin_terms(words: list[Run]) -> list[Term]:
    """Terms of words of Latin letters: a name of several words is one; a single one may be Japanese."""
    stems = [stem(word.text) for word in words]
    named = {first: (last, codes) for first, last, codes in longest(stems, names().latin, " ")}
    found, place = [], 0
    while place < len(words):
        last, codes = named.get(place, (place, ()))
        said = " ".join(word.text for word in words[place : last + 1])
        together = tuple(filter(None, stems[place : last + 1]))
        if together:
            found.append(
                term(said, [together, *signs_of(codes), *(in_kana(said) if place == last else ())])
            )
        place = last + 1
    return found


def in_kana(word: str) -> list[Tokens]:
    """What a word of Latin letters asks for if it is Japanese: inu is いぬ and 犬."""
    kana = of_latin(word) if word.isascii() and word not in NOT_ROMAJI else None
    if kana is None or len(kana) < 2:
        return []
    found = pieces(kana)
    usual = (
        [(form,) for form in forms(found[0].word) if not form.startswith(SHORTENED)]
        if len(found) == 1
        else []
    )
    return [
        (kana,),
        (f"{SHORTENED}{short(kana)}",),
        *signs_of(names().japanese.get(kana, ())),
        *usual,
    ]


def name_term(name: str) -> Term:
    """A Japanese name that stands alone."""
    kana = hiragana(name).replace("・", "")
    return term(name, [(kana,), *signs_of(names().japanese.get(kana, ()))])


def japanese_terms(text: str) -> list[Term]:
    """Terms of a run of Japanese: a known name is one; else each word that says something, but hiragana that the dictionary cannot be trusted with is one as it stands."""
    found = pieces(text)
    if codes := names().japanese.get(hiragana(text)):
        main = (
            word_alternatives(found[0])
            if len(found) == 1
            else [tuple(token_of(piece.word.usual) for piece in found if forms(piece.word))]
        )
        return [term(text, [(hiragana(text)[:TOKEN_LETTERS],), *signs_of(codes), *main])]
    terms = []
    for chunk in chunks(found):
        if (whole := in_doubt(chunk)) and not trusted(chunk):
            terms.append(term(whole, [(whole,)]))
        else:
            terms += [
                term(piece.word.surface, word_alternatives(piece))
                for piece in chunk
                if forms(piece.word)
            ]
    return terms


def trusted(chunk: list[Piece]) -> bool:
    """Whether hiragana is cut into words that can stand so: かわいい ねこ and たべ てる are, いぬ ま and ねこ じゃ らし are not."""
    before = [None, *(piece.word.kind for piece in chunk)]
    return all(
        (piece.word.kind == "助動詞" and kind in (*INFLECTED, "助動詞"))
        or (len(piece.word.surface) > 1 and forms(piece.word))
        for piece, kind in zip(chunk, before, strict=False)
    )


def word_alternatives(piece: Piece) -> list[Tokens]:
    """What a word of the dictionary asks for: as it is written, its usual form, the kind of animal that it names, or all of its parts."""
    word = piece.word
    itself = [] if word.kind in INFLECTED else [(token_of(word.surface),)]
    by_sound = (
        names().japanese.get(hiragana(word.surface), ()) if can_be_named(word) else ()
    )  # who types いか looks for イカ, though a text's いか is more often 以下
    named = dict.fromkeys((*by_sound, *codes_of(word)))
    split = [
        tuple(token_of(part.word.usual) for part in level if forms(part.word))
        for level in piece.levels
    ]
    return [*itself, (token_of(word.usual),), *signs_of(tuple(named)), *split]


def signs_of(codes: tuple[str, ...]) -> list[Tokens]:
    """The signs of the categories and breeds that a name means, each an alternative."""
    return [(sign(code),) for code in codes]


def term(text: str, alternatives: list[Tokens]) -> Term:
    """A term with each alternative once, without empty ones."""
    return Term(
        text,
        tuple(
            dict.fromkeys(
                alternative for alternative in alternatives if alternative and all(alternative)
            )
        ),
    )
