"""The taxonomy: unique codes and names, and searches for every breed by each of its names."""

from tanuki.animals.search.normalize import fold
from tanuki.animals.search.query_parser import parse_query
from tanuki.animals.search.synonyms import concept_tokens, synonym_tables
from tanuki.animals.search.tokenize import find_codes
from tanuki.animals.taxonomy import BREEDS, CATEGORIES, breeds_of


def test_codes_are_unique_lower_case_ascii():
    codes = [*CATEGORIES, *BREEDS]
    assert len(codes) == len(set(codes))
    assert all(
        code.isascii() and code.replace("_", "").isalpha() and code.islower() for code in codes
    )


def test_every_breed_has_a_category_and_unique_names():
    assert {breed.category for breed in BREEDS.values()} <= set(CATEGORIES)
    for table in (CATEGORIES, BREEDS):
        for names in (
            [entry.ja for entry in table.values()],
            [entry.en for entry in table.values()],
        ):
            assert all(names)
            assert len(names) == len(set(names))
    assert sum(len(breeds_of(category)) for category in CATEGORIES) == len(BREEDS) >= 60
    assert {"cat", "dog", "bird", "rabbit"} <= {
        category for category in CATEGORIES if len(breeds_of(category)) >= 3
    }


def test_no_synonym_has_two_codes():
    assert [
        name
        for synonyms in (synonym_tables().latin, synonym_tables().japanese)
        for name, codes in synonyms.items()
        if len(codes) > 1
    ] == []


def test_every_name_of_a_breed_or_its_category_matches_it():
    for code, breed in BREEDS.items():
        tokens = set(concept_tokens(code))
        for query in (
            breed.ja,
            breed.en,
            *breed.also,
            CATEGORIES[breed.category].ja,
            CATEGORIES[breed.category].en,
        ):
            terms = parse_query(query)
            assert terms, query
            assert all(
                any(tokens.issuperset(alternative) for alternative in term.alternatives)
                for term in terms
            ), (query, terms)


def test_both_names_of_a_breed_are_recognised_in_texts():
    assert find_codes("a guinea pig beside a 柴犬") == ["shiba", "guinea_pig", "dog", "small"]
    unrecognised = [
        name
        for code, breed in BREEDS.items()
        for name in (breed.ja, breed.en)
        if code not in find_codes(fold(name))
    ]
    assert unrecognised == []
