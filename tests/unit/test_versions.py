from datetime import UTC, datetime, timedelta

from runs.versions import version_word


def test_the_latest_moment_is_the_version():
    old = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    assert version_word(old, None, old - timedelta(days=1)) == version_word(old)
    assert version_word(old) != version_word(old + timedelta(microseconds=1))


def test_nothing_has_a_version_too():
    assert version_word(None) == version_word() == "0"


def test_a_moment_that_is_hardly_past_never_gives_the_same_word_again():
    now = datetime.now(UTC)
    words = {version_word(now) for _ in range(3)}
    assert str(round(now.timestamp() * 1_000_000)) not in words
