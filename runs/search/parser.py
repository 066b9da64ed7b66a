"""From the text of a search to frozen dataclasses. Pure: no database, no clock.

    query     = either
    either    = all { "OR" all }
    all       = { ["AND"] negated }
    negated   = { "-" | "NOT" } ( "(" either ")" | qualifier | quoted | word )
    qualifier = name ":" [ operator ] value { "," value }
    value     = { quoted | letters | "*" }

Words stand for text anywhere in a run; `runs/search/qualifiers.py` lists the qualifiers.
"""

from __future__ import annotations

import math
import re
from typing import NoReturn

from runs.errors import SearchError
from runs.folding import FOLDED_LABEL_LENGTH, clean, fold
from runs.search.nodes import (
    UNITS,
    And,
    Condition,
    Dated,
    Identified,
    Labelled,
    Lasting,
    Measured,
    Named,
    Node,
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
from runs.search.qualifiers import QUALIFIERS, WORDS, find_word, meant_qualifier, meant_word

MAX_LENGTH = 2_000
MAX_TERMS = 50
MAX_DEPTH = 20

_QUOTES = str.maketrans("“”„‟", '""""')
_QUALIFIER = re.compile(r"([^\W\d]\w*):")
_KEYWORD = re.compile(r'(OR|AND|NOT)(?=[\s()"]|$)')
_WORD = re.compile(r'[^\s()"]+')
_OPERATOR = re.compile(r"[<>!=]+")
_BARE = {
    "value": re.compile(r'[^\s()"*]+'),
    "listed": re.compile(r'[^\s()"*,]+'),
    "key": re.compile(r'[^\s()"*<>!=]+'),
}
_DURATION = re.compile(r"(?:\d{1,9}[smhdw])+")
_AMOUNT = re.compile(r"(\d+)([smhdw])")


def tidy(text: str) -> str:
    """The text as `parse` reads it and counts its letters: no control characters, straight quotes."""
    return clean(text).translate(_QUOTES)


def parse(text: str) -> Query:
    """What the text asks for. Raises SearchError; its position counts the letters of `tidy(text)` from 1."""
    tidied = tidy(text)
    if len(tidied) > MAX_LENGTH:
        message = f"The search has {len(tidied):,} letters; {MAX_LENGTH:,} fit."
        raise SearchError(message, position=MAX_LENGTH + 1, hint="Shorten it.")
    return _Reader(tidied).query()


class _Reader:
    """Reads one search from left to right; `at` is the index of the next letter."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.terms = 0

    # The sentence -----------------------------------------------------------------------------------

    def query(self) -> Query:
        root = self.either()
        if self.at < len(self.text):
            self.refuse(self.at, "this parenthesis closes nothing.", "Remove it, or put the text in quotes.")
        return Query(root or And())

    def either(self) -> Node | None:
        """Terms with OR between them; None if there is none before the end or the parenthesis."""
        first = self.all()
        if self.keyword() != "OR":
            return first
        branches: list[Node] = []
        branch: Node | None = first
        while True:
            start = self.at
            more = self.keyword() == "OR"
            if branch is not None:
                branches += branch.nodes if isinstance(branch, Or) else [branch]
            if not more:
                return Or(tuple(branches))
            self.at += 2
            previous, branch = branch, self.all()
            if previous is None or branch is None:
                self.refuse(start, "OR wants something on both sides.", 'To find the word, write "OR".')

    def all(self) -> Node | None:
        """Terms that must all hold; None if there is none before an OR, the end or the parenthesis."""
        nodes: list[Node] = []
        and_at = -1
        while self.more() and self.text[self.at] != ")" and (word := self.keyword()) != "OR":
            if word != "AND":
                node = self.negated()
                nodes += node.nodes if isinstance(node, And) and node.nodes else [node]
                and_at = -1
            elif not nodes or and_at >= 0:
                self.refuse_and(self.at)
            else:
                and_at = self.at
                self.at += 3
        if and_at >= 0:
            self.refuse_and(and_at)
        if not nodes:
            return None
        meant = [node for node in nodes if node != And()] or nodes[:1]
        return meant[0] if len(meant) == 1 else And(tuple(meant))

    def negated(self) -> Node:
        negative = False
        start = self.at
        while self.more():
            hint = "Write a term right after the -."
            if self.keyword() == "NOT":
                hint = 'Write a term after NOT. To find the word, write "NOT".'
                self.at += 3
            elif self.text[self.at] == "-" and self.text[self.at + 1 : self.at + 2].strip():
                self.at += 1
            else:
                break
            negative = not negative
            if not self.more() or self.text[self.at] == ")" or self.keyword() in ("OR", "AND"):
                self.refuse(start, "what is it that should not be?", hint)
        node = self.primary()
        if not negative:
            return node
        return node.node if isinstance(node, Not) else Not(node)

    def primary(self) -> Node:
        if self.text[self.at] == "(":
            return self.group()
        self.count(self.at)
        if self.text[self.at] == '"':
            return self.phrase()
        if found := _QUALIFIER.match(self.text, self.at):
            return self.qualifier(found[1], found.end())
        return self.word()

    def group(self) -> Node:
        start = self.at
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse(start, f"parentheses nest at most {MAX_DEPTH} deep.", "Write it with fewer of them.")
        self.at += 1
        node = self.either()
        if self.at >= len(self.text):
            self.refuse(start, "this parenthesis is never closed.", "Add a ) where the group ends.")
        self.at += 1
        self.depth -= 1
        if node is None:
            self.refuse(start, "these parentheses are empty.", "Put a term between them.")
        return node

    def phrase(self) -> Text:
        start = self.at
        term = " ".join(self.quoted().split())
        if not term:
            self.refuse(start, "these quotes are empty.", "Put the text to find between them.")
        return Text(term)

    def word(self) -> Node:
        found = _WORD.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        words = tuple(Text(piece) for piece in found[0].split("*") if piece)
        for _ in words[1:]:
            self.count(found.start())
        return words[0] if len(words) == 1 else And(words)

    # Qualifiers -------------------------------------------------------------------------------------

    def qualifier(self, written: str, value_at: int) -> Condition:
        name = written.casefold()
        if name not in QUALIFIERS:
            meant = meant_qualifier(written)
            hint = f"Did you mean {meant}:…? " if meant else ""
            self.refuse(
                self.at,
                f"there is no qualifier {written}.",
                f'{hint}There are {", ".join(QUALIFIERS)}. Text with a colon goes in quotes: "{written}:…".',
            )
        self.at = value_at
        if not self.at_value():
            self.wants(name, self.at)
        if name in WORDS:
            return self.one_of(name)
        if name in ("submitter", "experiment", "target", "node"):
            return Named(name, tuple(self.values(name)))
        if name in ("tag", "property"):
            return self.labelled(name)
        if name in ("name", "description"):
            return Within(name, tuple(piece for piece in self.some(name).pieces if piece))
        if name in ("id", "parent"):
            return Identified(name, self.exact(name))
        if name == "metric":
            return self.measured()
        if name == "number":
            return self.numbered()
        return self.lasting() if name == "duration" else self.dated(name)

    def one_of(self, name: str) -> OneOf:
        words: list[str] = []
        for start, written in self.listed(name):
            if "*" in str(written) or not find_word(name, written.pieces[0]):
                self.refuse_word(name, start, "*".join(written.pieces))
            words.append(find_word(name, written.pieces[0]))
        if name == "is" and len(words) > 1:
            self.refuse(self.at, "is: takes one word.", f"Write is:{words[0]} is:{words[1]}.")
        return OneOf(name, tuple(dict.fromkeys(words)))

    def labelled(self, name: str) -> Labelled:
        start = self.at
        key = self.value("key")
        if not any(key.pieces) and key.is_exact:
            self.wants(name, start)
        self.only_last_star(name, key, start)
        operator = self.operator()
        if not operator:
            return Labelled(name, key, None)
        if operator != "=":
            self.refuse(start, f"{name} compares with = only.", f"For what is not so, write -{name}:{key}=….")
        if not key.is_exact:
            self.refuse(start, f"{name} takes no * in a key with a value.", f"Write {name}:quality=good.")
        value_at = self.at
        if not self.at_value():
            self.refuse(value_at, f"{name}:{key}= wants a value.", f'For an empty one write {name}:{key}="".')
        value = self.value("value")
        self.only_last_star(name, value, value_at)
        if not value.is_exact and len(f"{fold(key.pieces[0])}={fold(value.pieces[0])}") > FOLDED_LABEL_LENGTH:
            self.refuse(
                value_at,
                f"{name} takes at most {FOLDED_LABEL_LENGTH} letters before a *, its key among them.",
                "Write fewer of them, or the whole value without a *.",
            )
        return Labelled(name, key, value)

    def measured(self) -> Measured:
        start = self.at
        name = self.value("key")
        if not name.is_exact or not name.pieces[0]:
            self.wants("metric", start)
        operator = self.operator()
        if not operator:
            return Measured(name.pieces[0])
        value_at = self.at
        written = self.plain_value()
        try:
            value = float(written)
        except ValueError:
            value = math.nan
        if math.isnan(value) or "_" in written:
            self.refuse(value_at, "metric compares with a number.", "Write one such as 0.9 or 1e-3.")
        return Measured(name.pieces[0], operator, value)

    def numbered(self) -> Numbered:
        operator = self.operator() or "="
        start = self.at
        written = self.plain_value().removeprefix("#")
        if not (written.isascii() and written.isdecimal() and len(written) <= 18):
            self.wants("number", start)
        return Numbered(operator, int(written))

    def lasting(self) -> Lasting:
        operator = self.operator() or "="
        start = self.at
        written = self.plain_value().casefold()
        if not (written.isascii() and _DURATION.fullmatch(written)):
            self.refuse(start, "duration wants a time such as 90s, 5m or 1h.", "Units are s, m, h, d and w.")
        amounts = [(int(amount), unit) for amount, unit in _AMOUNT.findall(written)]
        seconds = sum(amount * UNITS[unit] for amount, unit in amounts)
        if seconds > 36_500 * UNITS["d"]:
            self.refuse(start, "that is more than a century.", "Give a shorter duration.")
        return Lasting(operator, seconds, min((unit for _, unit in amounts), key=lambda unit: UNITS[unit]))

    def dated(self, name: str) -> Dated:
        operator = self.operator() or "="
        start = self.at
        written = self.plain_value()
        text = written.upper() if written[:1].isdigit() and "-" in written else written.casefold()
        try:
            return Dated(name, operator, When(text))
        except (ValueError, OverflowError):
            self.wants(name, start)

    # Values -----------------------------------------------------------------------------------------

    def value(self, kind: str) -> Pattern:
        """The next value, which may be quoted in parts and hold stars; empty if there is none."""
        pieces = [""]
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == '"':
                pieces[-1] += self.quoted()
            elif letter == "*":
                self.at += 1
                pieces.append("")
            elif found := _BARE[kind].match(self.text, self.at):
                pieces[-1] += found[0]
                self.at = found.end()
            else:
                break
        inner = [piece for piece in pieces[1:-1] if piece]
        return Pattern((pieces[0], *inner, pieces[-1]) if len(pieces) > 1 else tuple(pieces))

    def values(self, name: str) -> list[Pattern]:
        return list(dict.fromkeys(pattern for _, pattern in self.listed(name)))

    def listed(self, name: str) -> list[tuple[int, Pattern]]:
        """The values of a list with commas, each with where it starts."""
        found: list[tuple[int, Pattern]] = []
        while True:
            start = self.at
            value = self.value("listed")
            if value.is_exact and not value.pieces[0].strip():
                self.wants(name, start)
            if found:
                self.count(start)
            found.append((start, value))
            if self.text[self.at : self.at + 1] != ",":
                return found
            self.at += 1

    def some(self, name: str) -> Pattern:
        start = self.at
        value = self.value("value")
        if value.is_exact and not value.pieces[0].strip():
            self.wants(name, start)
        return value

    def exact(self, name: str) -> str:
        start = self.at
        value = self.some(name)
        if not value.is_exact:
            self.refuse(start, f"{name} takes a whole run id, without *.", "Part of one is found as a word.")
        return value.pieces[0]

    def plain_value(self) -> str:
        return "*".join(self.value("value").pieces).strip()

    def quoted(self) -> str:
        r"""What stands between the quotes that open here; \" and \\ are a quote and a backslash."""
        start = self.at
        letters: list[str] = []
        at = start + 1
        while at < len(self.text) and self.text[at] != '"':
            at += self.text[at] == "\\" and self.text[at + 1 : at + 2] in ('"', "\\")
            letters += self.text[at]
            at += 1
        if at >= len(self.text):
            self.refuse(start, "these quotes are never closed.", 'Add a " where the text ends.')
        self.at = at + 1
        return "".join(letters)

    def operator(self) -> str:
        found = _OPERATOR.match(self.text, self.at)
        if found is None:
            return ""
        operator = "=" if found[0] == "==" else found[0]
        if operator not in ("=", "!=", "<", "<=", ">", ">="):
            self.refuse(self.at, f"{found[0]} is no comparison.", "There are = != < <= > and >=.")
        self.at = found.end()
        return operator

    # Small steps ------------------------------------------------------------------------------------

    def more(self) -> bool:
        """Skip blanks; whether anything is left."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at < len(self.text)

    def at_value(self) -> bool:
        """Whether a value starts here."""
        letter = self.text[self.at : self.at + 1]
        return bool(letter.strip()) and letter not in "()"

    def keyword(self) -> str:
        found = _KEYWORD.match(self.text, self.at)
        return found[1] if found else ""

    def count(self, at: int) -> None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            self.refuse(at, f"a search holds at most {MAX_TERMS} terms.", "Leave some out.")

    def only_last_star(self, name: str, pattern: Pattern, at: int) -> None:
        if not pattern.is_exact and (len(pattern.pieces) > 2 or pattern.pieces[1]):
            self.refuse(at, f"{name} takes a * only at the end.", f"Write {name}:qual* or {name}:key=val*.")

    def wants(self, name: str, at: int) -> NoReturn:
        is_missing = not self.text[at : at + 1].strip()
        hint = "The value follows the colon without a blank." if is_missing else ""
        self.refuse(at, f"{name} wants {QUALIFIERS[name].wants}.", hint)

    def refuse_and(self, at: int) -> NoReturn:
        self.refuse(at, "AND wants something on both sides.", 'To find the word, write "AND".')

    def refuse_word(self, name: str, at: int, written: str) -> NoReturn:
        if find_word(name, written.removeprefix("-")):
            hint = f"For what is not so, write -{name}:{written.removeprefix('-')}."
            self.refuse(at, f"there is no {name}:{written}.", hint)
        meant = meant_word(name, written)
        others = (f"{other}:{find_word(other, written)}" for other in WORDS if find_word(other, written))
        better = f"{name}:{meant}" if meant else next(others, "")
        hint = f"Did you mean {better}? " if better else ""
        self.refuse(at, f"there is no {name}:{written}.", f"{hint}There are {', '.join(WORDS[name])}.")

    def refuse(self, at: int, message: str, hint: str) -> NoReturn:
        raise SearchError(f"At letter {at + 1}: {message}", position=at + 1, hint=hint)
