"""The search language: what each form means, what is refused and where, and that nothing else happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.errors import SearchError
from runs.folding import fold
from runs.search.nodes import (
    And,
    Dated,
    Identified,
    Labelled,
    Lasting,
    Measured,
    Named,
    Not,
    Numbered,
    OneOf,
    Or,
    Pattern,
    Query,
    Text,
    When,
    Within,
)
from runs.search.parser import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, parse, tidy
from runs.search.qualifiers import QUALIFIERS

NOW = datetime(2026, 11, 21, 15, 30, 20, tzinfo=UTC)


def exact(name: str) -> Pattern:
    return Pattern((name,))


# Words, phrases and how they combine ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("", And()),
        ("   \t\n ", And()),
        ("*", And()),
        ("mnist", Text("mnist")),
        ("Grüße", Text("Grüße")),
        ("lr=0.1", Text("lr=0.1")),
        ("12:30", Text("12:30")),
        ("-", Text("-")),
        ("or", Text("or")),
        ("ORacle", Text("ORacle")),
        ("mni*", Text("mni")),
        ("mni*st", And((Text("mni"), Text("st")))),
        ('"fantastic   run"', Text("fantastic run")),
        ("“fantastic run”", Text("fantastic run")),
        (r'"a \"b\" \\ \c"', Text(r'a "b" \ \c')),
        ('"foo:bar"', Text("foo:bar")),
        ('"OR"', Text("OR")),
        ("a b", And((Text("a"), Text("b")))),
        ("a AND b", And((Text("a"), Text("b")))),
        ("a OR b", Or((Text("a"), Text("b")))),
        ("a b OR c", Or((And((Text("a"), Text("b"))), Text("c")))),
        ("a (b OR c)", And((Text("a"), Or((Text("b"), Text("c")))))),
        ("(a b) c", And((Text("a"), Text("b"), Text("c")))),
        ("(a OR b) OR c", Or((Text("a"), Text("b"), Text("c")))),
        ("a(b)c", And((Text("a"), Text("b"), Text("c")))),
        ("-a", Not(Text("a"))),
        ("NOT a", Not(Text("a"))),
        ("--a", Text("a")),
        ("---a", Not(Text("a"))),
        ('-"a b"', Not(Text("a b"))),
        ("-(a OR b)", Not(Or((Text("a"), Text("b"))))),
        ("-(a b)", Not(And((Text("a"), Text("b"))))),
        ("-(-a)", Text("a")),
        ("-*", Not(And())),
        ("a *", Text("a")),
        ("nul\0byte", Text("nulbyte")),
    ],
)
def test_words_and_how_they_combine(text, root):
    assert parse(text).root == root


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("status:running", OneOf("status", ("Running",))),
        ("STATUS:RUNNING", OneOf("status", ("Running",))),
        ("status:failed,canceled,failed", OneOf("status", ("Failed", "Canceled"))),
        ("status:not_responding", OneOf("status", ("NotResponding",))),
        ("status:not-responding,NOTRESPONDING", OneOf("status", ("NotResponding",))),
        ("error:out-of-memory,outofmemory", OneOf("error", ("out_of_memory",))),
        ("kind:pipeline", OneOf("kind", ("pipeline",))),
        ("error:time-limit", OneOf("error", ("time_limit",))),
        ("is:active", OneOf("is", ("active",))),
        ("submitter:ana", Named("submitter", (exact("ana"),))),
        ("submitter:@me,ana", Named("submitter", (exact("@me"), exact("ana")))),
        ("experiment:mnist", Named("experiment", (exact("mnist"),))),
        ("experiment:mni*", Named("experiment", (Pattern(("mni", "")),))),
        ("experiment:*-**-x", Named("experiment", (Pattern(("", "-", "-x")),))),
        ('submitter:"a*b, c"', Named("submitter", (exact("a*b, c"),))),
        ("target:gpu-compute", Named("target", (exact("gpu-compute"),))),
        ("target:*", Named("target", (Pattern(("", "")),))),
        ("node:box", Named("node", (exact("box"),))),
        ("tag:quality", Labelled("tag", exact("quality"), None)),
        ("tag:quality=good", Labelled("tag", exact("quality"), exact("good"))),
        ("tag:quality==good", Labelled("tag", exact("quality"), exact("good"))),
        ("tag:note=a,b=c:d", Labelled("tag", exact("note"), exact("a,b=c:d"))),
        ('tag:quality="fantastic run"', Labelled("tag", exact("quality"), exact("fantastic run"))),
        ('tag:quality=""', Labelled("tag", exact("quality"), exact(""))),
        ('tag:"worth another look"', Labelled("tag", exact("worth another look"), None)),
        ("tag:qual*", Labelled("tag", Pattern(("qual", "")), None)),
        ("tag:quality=fan*", Labelled("tag", exact("quality"), Pattern(("fan", "")))),
        ("property:author=ana", Labelled("property", exact("author"), exact("ana"))),
        ("metric:accuracy", Measured("accuracy")),
        ("metric:accuracy>0.9", Measured("accuracy", ">", 0.9)),
        ("metric:accuracy!=1", Measured("accuracy", "!=", 1.0)),
        ('metric:"val loss"<=1e-3', Measured("val loss", "<=", 0.001)),
        ("metric:loss<inf", Measured("loss", "<", float("inf"))),
        ("number:12", Numbered("=", 12)),
        ("number:#12", Numbered("=", 12)),
        ("number:>=10", Numbered(">=", 10)),
        ("duration:>1h", Lasting(">", 3600, "h")),
        ("duration:<90s", Lasting("<", 90, "s")),
        ("duration:>1h30m", Lasting(">", 5400, "m")),
        ("duration:2D", Lasting("=", 172800, "d")),
        ("created:>2026-11-01", Dated("created", ">", When("2026-11-01"))),
        ("created:2026-11", Dated("created", "=", When("2026-11"))),
        ("created:>=2026-11-01t10:30z", Dated("created", ">=", When("2026-11-01T10:30Z"))),
        ("created:7d", Dated("created", "=", When("7d"))),
        ("ended:Yesterday", Dated("ended", "=", When("yesterday"))),
        ("started:<24h", Dated("started", "<", When("24h"))),
        ("parent:abc_1", Identified("parent", "abc_1")),
        ("id:abc_1", Identified("id", "abc_1")),
        ('description:"learning rate"', Within("description", ("learning rate",))),
        ("name:sweep*3", Within("name", ("sweep", "3"))),
        ("description:*", Within("description", ())),
    ],
)
def test_qualifiers(text, condition):
    assert parse(text).root == condition


def test_a_qualifier_may_be_negated_and_grouped():
    assert parse("-status:failed (tag:a OR -tag:b)").root == And(
        (
            Not(OneOf("status", ("Failed",))),
            Or((Labelled("tag", exact("a"), None), Not(Labelled("tag", exact("b"), None)))),
        )
    )


@pytest.mark.parametrize("text", ["is:archived", "-is:archived", "a OR (b is:archived)"])
def test_a_query_that_names_the_archive_says_so(text):
    assert parse(text).asks_for_archived


def test_other_queries_do_not():
    assert not parse('archived "is:archived" is:active').asks_for_archived


# What is refused, where, and what would be right ---------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("sweep duration:5", 16, "duration wants a time such as 90s, 5m or 1h"),
        ("duration:1.5h", 10, "90s, 5m or 1h"),
        ("duration:999999w", 10, "century"),
        ("user:ana", 1, "Did you mean submitter"),
        ("a statsu:failed", 3, "Did you mean status"),
        ("zzz:1", 1, "There are status, submitter"),
        ("http://localhost", 1, 'goes in quotes: "http:…"'),
        ("status:runing", 8, "Did you mean status:Running"),
        ("status:cancelled", 8, "Did you mean status:Canceled"),
        ("status:active", 8, "Did you mean is:active"),
        ("is:failed", 4, "Did you mean status:Failed"),
        ("status:failed,", 15, "status wants a status"),
        ("status:-failed", 8, "For what is not so, write -status:failed."),
        ("status:queued,-failed", 15, "For what is not so, write -status:failed."),
        ("kind:-script", 6, "For what is not so, write -kind:script."),
        ("is:-active", 4, "For what is not so, write -is:active."),
        ("status:fa-iled", 8, "Did you mean status:Failed"),
        ("status:_failed_", 8, "Did you mean status:Failed"),
        ("status:--failed", 8, "there is no status:--failed"),
        ("status: failed", 8, "follows the colon without a blank"),
        ("status:f*", 8, "there is no status:f*"),
        ("is:active,root", 15, "one word"),
        ("submitter:", 11, "submitter wants a user name"),
        ("submitter:(ana)", 11, "submitter wants a user name"),
        ("tag:", 5, "tag wants a tag"),
        ("tag:=good", 5, "tag wants a tag"),
        ("tag:quality=", 13, 'For an empty one write tag:quality=""'),
        ("tag:quality>3", 5, "compares with = only"),
        ("tag:*uality", 5, "only at the end"),
        ("tag:q*=good", 5, "no * in a key"),
        ("metric:accuracy>high", 17, "a number"),
        ("metric:accuracy>nan", 17, "a number"),
        ("metric:accuracy=>1", 16, "=> is no comparison"),
        ("metric:>1", 8, "metric wants"),
        ("number:twelve", 8, "number wants a number"),
        ("number:9999999999999999999", 8, "number wants a number"),
        ("created:2026-13-01", 9, "created wants a time"),
        ("created:2026-02-30", 9, "created wants a time"),
        ("created:tomorrow", 9, "created wants a time"),
        ("created:0001", 9, "created wants a time"),
        ("id:abc*", 4, "whole run id"),
        ('a "b', 3, "never closed"),
        ('a ""', 3, "these quotes are empty"),
        ("(a", 1, "never closed"),
        ("a)", 2, "closes nothing"),
        ("()", 1, "empty"),
        ("a OR", 3, "both sides"),
        ("OR a", 1, "both sides"),
        ("a OR OR b", 3, "both sides"),
        ("a AND", 3, "both sides"),
        ("a AND AND b", 7, "both sides"),
        ("a -(", 4, "never closed"),
        ("(a -)", 4, "what is it that should not be?"),
        ("NOT", 1, "what is it that should not be?"),
        ("NOT", 1, 'Write a term after NOT. To find the word, write "NOT".'),
        ("(a -)", 4, "right after the -."),
    ],
)
def test_what_is_refused_says_where_and_what_would_be_right(text, position, words):
    with pytest.raises(SearchError) as caught:
        parse(text)
    assert caught.value.position == position
    assert str(caught.value).startswith(f"At letter {position}: ")
    assert words in str(caught.value)


def test_the_limit_on_length():
    assert parse("a" * MAX_LENGTH)
    with pytest.raises(SearchError, match="2,001 letters; 2,000 fit") as caught:
        parse("a" * (MAX_LENGTH + 1))
    assert caught.value.position == MAX_LENGTH + 1


@pytest.mark.parametrize(
    "text", ["a " * (MAX_TERMS + 1), "a*" * (MAX_TERMS + 1), "node:" + "a,b," * 26 + "a"]
)
def test_the_limit_on_terms(text):
    with pytest.raises(SearchError, match="at most 50 terms"):
        parse(text)


def test_the_limit_on_depth():
    assert parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH)
    with pytest.raises(SearchError, match="nest at most 20 deep"):
        parse("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1))
    assert parse("-" * (MAX_LENGTH - 1) + "a")


def test_every_qualifier_of_the_table_can_be_parsed_and_explains_itself():
    examples = {"kind": "step", "is": "active", "status": "failed", "error": "script", "duration": ">1h"}
    examples |= dict.fromkeys(["created", "started", "ended"], "today") | {"number": "1"}
    for name, qualifier in QUALIFIERS.items():
        assert parse(f"{name}:{examples.get(name, 'x')}")
        with pytest.raises(SearchError) as caught:
            parse(f"{name}:")
        assert qualifier.wants in caught.value.message


# Times ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2026", datetime(2026, 1, 1), datetime(2027, 1, 1)),
        ("2026-12", datetime(2026, 12, 1), datetime(2027, 1, 1)),
        ("2026-11-01", datetime(2026, 11, 1), datetime(2026, 11, 2)),
        ("2026-11-01T10:30", datetime(2026, 11, 1, 10, 30), datetime(2026, 11, 1, 10, 31)),
        ("2026-11-01 10:30:05", datetime(2026, 11, 1, 10, 30, 5), datetime(2026, 11, 1, 10, 30, 6)),
        ("2026-11-01T10:30+02:00", datetime(2026, 11, 1, 8, 30), datetime(2026, 11, 1, 8, 31)),
        ("today", datetime(2026, 11, 21), datetime(2026, 11, 22)),
        ("yesterday", datetime(2026, 11, 20), datetime(2026, 11, 21)),
        ("7d", datetime(2026, 11, 14, 15, 30, 20), datetime(2026, 11, 14, 15, 30, 20)),
        ("90m", datetime(2026, 11, 21, 14, 0, 20), datetime(2026, 11, 21, 14, 0, 20)),
    ],
)
def test_a_time_covers_what_was_written(text, first, after):
    assert When(text).bounds(NOW) == (first.replace(tzinfo=UTC), after.replace(tzinfo=UTC))


def test_days_are_those_of_the_readers_zone():
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert When("today").bounds(there)[0] == datetime(2026, 11, 21, 15, tzinfo=UTC)


# Nothing else ever happens -------------------------------------------------------------------------------

LETTERS = [*'()"\\*-:=<>!,', " ", " ", "a", "é", "😀", "\0", "\u202e", "“", "\ud800", "\n", "½", "١"]
WORDS = [" OR ", " AND ", " NOT ", "0.9", "7d", "2026-11-01", "quality", "@me", "failed", "active", "inf"]
PIECES = st.sampled_from([*LETTERS, *WORDS, *(f"{name}:" for name in QUALIFIERS)])
SEARCHES = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map("".join))


def parse_or_error(text: str) -> Query | SearchError:
    try:
        return parse(text)
    except SearchError as error:
        return error


@settings(max_examples=1_500, deadline=None)
@given(SEARCHES)
def test_any_text_is_a_query_or_a_search_error(text):
    read = parse_or_error(text)
    if isinstance(read, SearchError):
        assert 1 <= read.position <= len(tidy(text)) + 1
    else:
        assert parse(str(read)) == read
        assert str(parse(str(read))) == str(read)
        str(read).encode()


TERMS = st.text(min_size=1, max_size=20).map(tidy).map(lambda term: " ".join(term.split())).filter(bool)


@settings(max_examples=500, deadline=None)
@given(TERMS, TERMS)
def test_any_term_can_be_quoted_and_comes_back(one, other):
    for query in (
        Query(And((Text(one), Text(other)))),
        Query(Labelled("tag", exact(one), exact(other))),
        Query(Named("submitter", (exact(one), Pattern((other, ""))))) if one != other else Query(),
        Query(Within("description", (one, other))),
        Query(Measured(one, ">", 0.1)),
    ):
        assert parse(str(query)) == query


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40))
def test_folding_is_idempotent_and_ignores_case(text):
    assert fold(fold(text)) == fold(text)
    fold(text).encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("STRASSE", "straße"),
        ("ΟΔΟΣ", "οδος"),
        ("Ｆｕｌｌ", "full"),
        ("ﬁne", "FINE"),
        ("e\u0301", "É"),
        ("a\u00adb", "ab"),
        ("❤\ufe0f", "❤"),
        ("a \t\n b", "A B"),
        ("ПРИВЕТ", "привет"),
        ("a\0b\x1fc", "ab c"),
        ("İSTANBUL IŞIK", "istanbul ışık"),
        ("I\u0307zmir ıIiİ", "izmir IIII"),
    ],
)
def test_what_looks_the_same_folds_to_the_same(one, other):
    assert fold(one) == fold(other)


# The documentation ---------------------------------------------------------------------------------------

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
EXAMPLES = [line.strip() for line in DOCUMENTATION.splitlines() if line.startswith("    ")]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_documentation_is_a_search(example):
    assert parse(example)


def test_the_documentation_shows_every_qualifier():
    assert {name for name in QUALIFIERS if not any(f"{name}:" in example for example in EXAMPLES)} == set()
    with pytest.raises(SearchError) as caught:
        parse("duration:5")
    assert f"> {caught.value}" in DOCUMENTATION


@pytest.mark.parametrize("text", ["number:-3", "created:2026/11/01", 'tag:""', "metric:>1"])
def test_a_value_that_follows_its_colon_is_not_said_to_be_away_from_it(text):
    with pytest.raises(SearchError, match="wants a") as caught:
        parse(text)
    assert "without a blank" not in str(caught.value)
