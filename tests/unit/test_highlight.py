"""Python source with its parts marked."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from runs.highlight import highlight


def test_parts_of_python_are_marked() -> None:
    lines = highlight("a.py", "import os  # why\nx = 'a<b' + 1\n")
    assert lines[0] == '<span class="code-keyword">import</span> os  <span class="code-comment"># why</span>'
    assert '<span class="code-string">&#x27;a&lt;b&#x27;</span>' in lines[1]
    assert '<span class="code-number">1</span>' in lines[1]


def test_a_string_over_several_lines_is_marked_on_each() -> None:
    lines = highlight("a.py", 'x = """one\ntwo\n"""\n')
    assert [line.count("code-string") for line in lines] == [1, 1, 1]


def test_what_is_not_python_is_plain() -> None:
    assert highlight("a.sh", "echo <b> # x") == ["echo &lt;b&gt; # x"]
    assert highlight("a.py", "def (:\n  'open") != []


@given(st.text(alphabet=st.sampled_from("ab <>&'\"\\\n\t\r\f#(){}=:é\u2028f"), max_size=200))
def test_no_letter_is_lost_or_added(text: str) -> None:
    shown = [html.unescape(re.sub(r"</?span[^>]*>", "", line)) for line in highlight("a.py", text)]
    lines = text.split("\n")
    assert shown == (lines if lines[-1] else lines[:-1])
