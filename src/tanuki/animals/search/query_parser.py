"""Queries as terms. Each word becomes alternatives of the tokens that `tokenize` gives to texts.

シバ, しば, shiba and siba ask for the reading しば, the stem shiba or the concept token
of 柴犬.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tanuki.animals.search.japanese import (
    INFLECTED,
    SHORTENED_PREFIX,
    WordInText,
    can_name_animal,
    codes_of_word,
    normalize_form,
    split_words,
    word_tokens,
)
from tanuki.animals.search.kana import drop_long_vowels, romaji_to_hiragana, to_hiragana
from tanuki.animals.search.normalize import MAX_TOKEN_LENGTH, Run, fold_with_offsets, stem_word
from tanuki.animals.search.synonyms import concept_token, find_names, synonym_tables
from tanuki.animals.search.tokenize import (
    group_runs,
    split_at_names,
    split_at_particles,
    uncertain_hiragana,
)

# English words that could be romaji. Whoever means the Japanese word can type kana.
NOT_ROMAJI = frozenset(
    """bake bite bone came dare date dime dine done dose fine game gate hate here hide hike hire
    home hope hose joke juice kite like line made make mate mine mode more name nine none nose note
    one pine pipe pose ride rode rose same see shake shine shore shoe site some sore take tame tape
    tire tone tune use wake wane wide wine wipe wire woke zone""".split()  # noqa: SIM905 a table of words
)

Tokens = tuple[str, ...]


class Term(NamedTuple):
    """One thing that a query asks for: one of the alternatives, with all of its tokens."""

    text: str
    alternatives: tuple[Tokens, ...]


def parse_query(text: str) -> list[Term]:
    """The terms of a query, without stopwords, signs and emoji. A post must have all of them."""
    terms: list[Term] = []
    for group in group_runs(fold_with_offsets(text).text):
        run = group[0]
        if run.kind == "latin":
            terms += parse_latin(group)
        elif run.kind == "japanese":
            for _, part, is_name in split_at_names(run):
                terms += [name_term(part)] if is_name else parse_japanese(part)
        else:
            terms.append(make_term(run.text, [(run.text[:MAX_TOKEN_LENGTH],)]))
    return list({term.alternatives: term for term in terms if term.alternatives}.values())


def parse_latin(words: list[Run]) -> list[Term]:
    """Terms of Latin words. A name of several words is one term; a single word may be romaji."""
    stems = [stem_word(word.text) for word in words]
    names = {
        first: (last, codes)
        for first, last, codes in find_names(stems, synonym_tables().latin, " ")
    }
    terms, place = [], 0
    while place < len(words):
        last, codes = names.get(place, (place, ()))
        text = " ".join(word.text for word in words[place : last + 1])
        tokens = tuple(filter(None, stems[place : last + 1]))
        if tokens:
            kana = kana_alternatives(text) if place == last else []
            terms.append(make_term(text, [tokens, *concept_alternatives(codes), *kana]))
        place = last + 1
    return terms


def kana_alternatives(word: str) -> list[Tokens]:
    """What a Latin word asks for if it is romaji: inu also asks for いぬ and 犬."""
    kana = romaji_to_hiragana(word) if word.isascii() and word not in NOT_ROMAJI else None
    if kana is None or len(kana) < 2:
        return []
    words = split_words(kana)
    forms = word_tokens(words[0].word) if len(words) == 1 else ()
    return [
        (kana,),
        (f"{SHORTENED_PREFIX}{drop_long_vowels(kana)}",),
        *concept_alternatives(synonym_tables().japanese.get(kana, ())),
        *((form,) for form in forms if not form.startswith(SHORTENED_PREFIX)),
    ]


def name_term(name: str) -> Term:
    """The term of a standalone Japanese name."""
    kana = to_hiragana(name).replace("・", "")
    codes = synonym_tables().japanese.get(kana, ())
    return make_term(name, [(kana,), *concept_alternatives(codes)])


def parse_japanese(text: str) -> list[Term]:
    """Terms of a run of Japanese.

    A known name is one term. Otherwise every word with a meaning is one, but hiragana that the
    dictionary may have split wrongly is one as a whole.
    """
    words = split_words(text)
    if codes := synonym_tables().japanese.get(to_hiragana(text)):
        main = word_alternatives(words[0]) if len(words) == 1 else [normalized_forms(words)]
        kana = to_hiragana(text)[:MAX_TOKEN_LENGTH]
        return [make_term(text, [(kana,), *concept_alternatives(codes), *main])]
    terms = []
    for chunk in split_at_particles(words):
        if (whole := uncertain_hiragana(chunk)) and not is_reliable_split(chunk):
            terms.append(make_term(whole, [(whole,)]))
        else:
            terms += [
                make_term(word.word.surface, word_alternatives(word))
                for word in chunk
                if word_tokens(word.word)
            ]
    return terms


def is_reliable_split(chunk: list[WordInText]) -> bool:
    """Whether hiragana was split into words that can follow each other.

    かわいい ねこ and たべ てる can, いぬ ま and ねこ じゃ らし cannot.
    """
    before = [None, *(word.word.part_of_speech for word in chunk)]
    return all(
        (word.word.part_of_speech == "助動詞" and previous in (*INFLECTED, "助動詞"))
        or (len(word.word.surface) > 1 and word_tokens(word.word))
        for word, previous in zip(chunk, before, strict=False)
    )


def word_alternatives(word: WordInText) -> list[Tokens]:
    """What a word asks for: its surface, its normalized form, the animal that it names, or all of
    its parts."""
    entry = word.word
    surface = [] if entry.part_of_speech in INFLECTED else [(normalize_form(entry.surface),)]
    # Whoever types いか looks for イカ, although いか in a text is more often 以下.
    by_reading = (
        synonym_tables().japanese.get(to_hiragana(entry.surface), ())
        if can_name_animal(entry)
        else ()
    )
    codes = tuple(dict.fromkeys((*by_reading, *codes_of_word(entry))))
    parts = [normalized_forms(level) for level in word.levels]
    return [*surface, (normalize_form(entry.normalized),), *concept_alternatives(codes), *parts]


def normalized_forms(words: Iterable[WordInText]) -> Tokens:
    """The normalized forms of the words that have tokens."""
    return tuple(normalize_form(word.word.normalized) for word in words if word_tokens(word.word))


def concept_alternatives(codes: tuple[str, ...]) -> list[Tokens]:
    """The concept tokens of the categories and breeds that a name means, each an alternative."""
    return [(concept_token(code),) for code in codes]


def make_term(text: str, alternatives: list[Tokens]) -> Term:
    """A term with each alternative once, without those that have an empty token."""
    complete = (tokens for tokens in alternatives if tokens and all(tokens))
    return Term(text, tuple(dict.fromkeys(complete)))
