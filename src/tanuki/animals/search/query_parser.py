"""What a query asks for. Each word becomes alternatives of the tokens that words.py gives to texts: シバ, しば, shiba and siba ask for the reading しば, the stem shiba or the sign of 柴犬."""

from typing import NamedTuple

from tanuki.animals.search.japanese import (
    INFLECTED,
    SHORTENED_PREFIX,
    WordInText,
    can_name_animal,
    codes_of_word,
    word_tokens,
    split_words,
    normalize_form,
)
from tanuki.animals.search.kana import to_hiragana, romaji_to_hiragana, drop_long_vowels
from tanuki.animals.search.normalize import MAX_TOKEN_LENGTH, Run, fold_with_offsets, stem_word
from tanuki.animals.search.synonyms import find_names, synonym_tables, concept_token
from tanuki.animals.search.tokenize import split_at_particles, split_at_names, group_runs, uncertain_hiragana

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


def parse_query(text: str) -> list[Term]:
    """What a query asks for; all of it must be found. Words that say nothing are left out; signs and emoji are no words."""
    found: list[Term] = []
    for group in group_runs(fold_with_offsets(text).text):
        if group[0].kind == "latin":
            found += parse_latin(group)
        elif group[0].kind == "japanese":
            for _, piece, is_name in split_at_names(group[0]):
                found += [name_term(piece)] if is_name else parse_japanese(piece)
        else:
            found.append(make_term(group[0].text, [(group[0].text[:MAX_TOKEN_LENGTH],)]))
    return list({each.alternatives: each for each in found if each.alternatives}.values())


def parse_latin(words: list[Run]) -> list[Term]:
    """Terms of words of Latin letters: a name of several words is one; a single one may be Japanese."""
    stems = [stem_word(word.text) for word in words]
    named = {first: (last, codes) for first, last, codes in find_names(stems, synonym_tables().latin, " ")}
    found, place = [], 0
    while place < len(words):
        last, codes = named.get(place, (place, ()))
        said = " ".join(word.text for word in words[place : last + 1])
        together = tuple(filter(None, stems[place : last + 1]))
        if together:
            found.append(
                make_term(said, [together, *concept_alternatives(codes), *(kana_alternatives(said) if place == last else ())])
            )
        place = last + 1
    return found


def kana_alternatives(word: str) -> list[Tokens]:
    """What a word of Latin letters asks for if it is Japanese: inu is いぬ and 犬."""
    kana = romaji_to_hiragana(word) if word.isascii() and word not in NOT_ROMAJI else None
    if kana is None or len(kana) < 2:
        return []
    found = split_words(kana)
    usual = (
        [(form,) for form in word_tokens(found[0].word) if not form.startswith(SHORTENED_PREFIX)]
        if len(found) == 1
        else []
    )
    return [
        (kana,),
        (f"{SHORTENED_PREFIX}{drop_long_vowels(kana)}",),
        *concept_alternatives(synonym_tables().japanese.get(kana, ())),
        *usual,
    ]


def name_term(name: str) -> Term:
    """A Japanese name that stands alone."""
    kana = to_hiragana(name).replace("・", "")
    return make_term(name, [(kana,), *concept_alternatives(synonym_tables().japanese.get(kana, ()))])


def parse_japanese(text: str) -> list[Term]:
    """Terms of a run of Japanese: a known name is one; else each word that says something, but hiragana that the dictionary cannot be trusted with is one as it stands."""
    found = split_words(text)
    if codes := synonym_tables().japanese.get(to_hiragana(text)):
        main = (
            word_alternatives(found[0])
            if len(found) == 1
            else [tuple(normalize_form(piece.word.normalized) for piece in found if word_tokens(piece.word))]
        )
        return [make_term(text, [(to_hiragana(text)[:MAX_TOKEN_LENGTH],), *concept_alternatives(codes), *main])]
    terms = []
    for chunk in split_at_particles(found):
        if (whole := uncertain_hiragana(chunk)) and not is_reliable_split(chunk):
            terms.append(make_term(whole, [(whole,)]))
        else:
            terms += [
                make_term(piece.word.surface, word_alternatives(piece))
                for piece in chunk
                if word_tokens(piece.word)
            ]
    return terms


def is_reliable_split(chunk: list[WordInText]) -> bool:
    """Whether hiragana is cut into words that can stand so: かわいい ねこ and たべ てる are, いぬ ま and ねこ じゃ らし are not."""
    before = [None, *(piece.word.part_of_speech for piece in chunk)]
    return all(
        (piece.word.part_of_speech == "助動詞" and kind in (*INFLECTED, "助動詞"))
        or (len(piece.word.surface) > 1 and word_tokens(piece.word))
        for piece, kind in zip(chunk, before, strict=False)
    )


def word_alternatives(piece: WordInText) -> list[Tokens]:
    """What a word of the dictionary asks for: as it is written, its usual form, the kind of animal that it names, or all of its parts."""
    word = piece.word
    itself = [] if word.part_of_speech in INFLECTED else [(normalize_form(word.surface),)]
    by_sound = (
        synonym_tables().japanese.get(to_hiragana(word.surface), ()) if can_name_animal(word) else ()
    )  # who types いか looks for イカ, though a text's いか is more often 以下
    named = dict.fromkeys((*by_sound, *codes_of_word(word)))
    split = [
        tuple(normalize_form(part.word.normalized) for part in level if word_tokens(part.word))
        for level in piece.levels
    ]
    return [*itself, (normalize_form(word.normalized),), *concept_alternatives(tuple(named)), *split]


def concept_alternatives(codes: tuple[str, ...]) -> list[Tokens]:
    """The signs of the categories and breeds that a name means, each an alternative."""
    return [(concept_token(code),) for code in codes]


def make_term(text: str, alternatives: list[Tokens]) -> Term:
    """A term with each alternative once, without empty ones."""
    return Term(
        text,
        tuple(
            dict.fromkeys(
                alternative for alternative in alternatives if alternative and all(alternative)
            )
        ),
    )
