"""Reading hostile uploads: each is refused with a message that says why, and nothing is written."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.errors import InvalidSnapshot, SnapshotTooBig
from runs.services import archive_formats, archives, ignores

LIMITS = archives.Limits(max_bytes=300 * 2**20, max_files=2_000)
SMALL = archives.Limits(max_bytes=2 * 2**20, max_files=20)


def make_zip(*members: tuple[str, bytes], mode: int | None = None) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            if mode is not None:
                info.external_attr = mode << 16
            archive.writestr(info, data)
    return file


def make_tar(*members: tarfile.TarInfo, compression: str = "") -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size) if member.isfile() else None)
    return file


def tar_member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def pack(
    file: io.BytesIO, limits: archives.Limits = LIMITS, *, unwrap: bool = False
) -> tuple[dict[str, bytes], archives.Packed]:
    """What comes out, by path, and the packed source (closed)."""
    size = archive_formats.archive_size(file)
    with archive_formats.archive_entries(file, limits=limits) as entries:
        packed = archives.pack(entries, limits=limits, archive_bytes=size, unwrap=unwrap)
    with packed, zipfile.ZipFile(packed.file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}, packed


def with_flag(file: io.BytesIO, bit: int) -> io.BytesIO:
    """The same zip with a general purpose bit set on its first member, in both its headers."""
    data = bytearray(file.getvalue())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(signature) + at
        (flags,) = struct.unpack_from("<H", data, place)
        struct.pack_into("<H", data, place, flags | bit)
    return io.BytesIO(bytes(data))


def with_claimed_size(file: io.BytesIO, size: int) -> io.BytesIO:
    """The same zip, its directory claiming another unpacked size of the first member."""
    data = bytearray(file.getvalue())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
    return io.BytesIO(bytes(data))


HOSTILE: dict[str, tuple[Callable[[], io.BytesIO], str]] = {
    "parent": (lambda: make_zip(("../evil.py", b"x")), "leads out of its folder"),
    "parent inside": (lambda: make_zip(("a/../../evil.py", b"x")), "leads out of its folder"),
    "parent at the end": (lambda: make_zip(("a/..", b"x")), "leads out of its folder"),
    "absolute": (lambda: make_zip(("/etc/passwd", b"x")), "is an absolute path"),
    "drive letter": (lambda: make_zip(("C:/evil.py", b"x")), r"begins as a drive of Windows does \(C:\)"),
    "drive without slash": (
        lambda: make_zip(("c:evil.py", b"x")),
        r"begins as a drive of Windows does \(c:\)",
    ),
    "backslash": (lambda: make_zip(("..\\evil.py", b"x")), "has a backslash"),
    "share": (lambda: make_zip(("\\\\server\\share", b"x")), "has a backslash"),
    "NUL": (lambda: make_zip(("good.py\0.jpg", b"x")), "has a control character"),
    "newline": (lambda: make_zip(("a\nb.py", b"x")), "has a control character"),
    "escape": (lambda: make_zip(("\x1b[31mred.py", b"x")), "has a control character"),
    "line separator": (lambda: make_zip(("a\u2028b.py", b"x")), "has a control character"),
    "empty part": (lambda: make_zip(("a//b.py", b"x")), "has an empty part"),
    "dot part": (lambda: make_zip(("a/./b.py", b"x")), "has an empty part"),
    "no name": (lambda: make_zip(("", b"x")), "has an empty part"),
    "only a slash": (lambda: make_zip(("/", b"")), "is an absolute path"),
    "long path": (lambda: make_zip(("d/" * 600 + "a.py", b"x")), "is longer than 1,024 bytes"),
    "10,000 characters": (lambda: make_zip(("a" * 10_000, b"x")), "is longer than 1,024 bytes"),
    "long part": (lambda: make_zip(("é" * 200, b"x")), "part longer than 255 bytes"),
    "twice": (lambda: make_zip(("a.py", b"1"), ("b.py", b"2"), ("./a.py", b"3")), "is there twice. Rename"),
    "twice by case": (lambda: make_zip(("a/Model.py", b"1"), ("a/model.py", b"2")), "is there twice"),
    "twice by accent": (lambda: make_zip(("caf\u00e9.py", b"1"), ("cafe\u0301.py", b"2")), "is there twice"),
    "file and folder": (
        lambda: make_zip(("a", b"1"), ("a-b", b""), ("a/b.py", b"2")),
        "of a file and of a folder. Rename",
    ),
    "file then folder": (lambda: make_zip(("a", b"1"), ("a/", b"")), "of a file and of a folder. Rename"),
    "file and folder by case": (
        lambda: make_zip(("a", b"1"), ("A/b/c.py", b"2")),
        "“a” is the name of a file and of a folder .as “a” and as “A”.. Names that differ only by case",
    ),
    "damaged": (
        lambda: io.BytesIO(make_zip(("a.py", bytes(range(256)))).getvalue().replace(b"hijkl", b"-----")),
        "“a.py” cannot be read: the archive is damaged there. Make the archive again",
    ),
    "symbolic link": (lambda: make_zip(("link", b"/etc/passwd"), mode=0o120777), "is a symbolic link"),
    "device": (lambda: make_zip(("null", b""), mode=0o020666), "is not a regular file"),
    "pipe": (lambda: make_zip(("pipe", b""), mode=0o010666), "is not a regular file"),
    "encrypted": (lambda: with_flag(make_zip(("a.py", b"x")), 0x1), "is encrypted"),
    "claims less": (lambda: with_claimed_size(make_zip(("a.py", b"x" * 5_000_000)), 10), "cannot be read"),
    "claims more": (lambda: with_claimed_size(make_zip(("a.py", b"x" * 10)), 11), "11 were announced"),
    "claims too much": (
        lambda: with_claimed_size(make_zip(("a.py", b"x")), 4 * 10**8),
        "the limit is 300 MiB",
    ),
    "bomb": (lambda: make_zip(("zeros", bytes(200 * 2**20))), "more than 200 times its size"),
    "bomb in pieces": (
        lambda: make_zip(*((f"{n}", bytes(4 * 2**20)) for n in range(20))),
        "more than 200 times its size",
    ),
    "no archive": (lambda: io.BytesIO(b"MZ this is a program"), "not a zip archive"),
    "empty upload": (lambda: io.BytesIO(b""), "not a zip archive"),
    "cut short": (lambda: io.BytesIO(make_zip(("a.py", b"x" * 999)).getvalue()[:-30]), "not a zip archive"),
    "only folders": (lambda: make_zip(("a/", b"")), "no file in it"),
    "no member": (lambda: make_zip(), "no file in it"),
    "tar parent": (lambda: make_tar(tar_member("../evil.py")), "leads out of its folder"),
    "tar absolute": (lambda: make_tar(tar_member("/etc/cron.d/x"), compression="gz"), "is an absolute path"),
    "tar symbolic link": (
        lambda: make_tar(tar_member("x", kind=tarfile.SYMTYPE, link="/etc/passwd")),
        "is a link",
    ),
    "tar hard link": (
        lambda: make_tar(tar_member("a"), tar_member("x", kind=tarfile.LNKTYPE, link="a")),
        "is a link",
    ),
    "tar device": (lambda: make_tar(tar_member("x", kind=tarfile.CHRTYPE)), "is not a regular file"),
    "tar block device": (lambda: make_tar(tar_member("x", kind=tarfile.BLKTYPE)), "is not a regular file"),
    "tar pipe": (lambda: make_tar(tar_member("x", kind=tarfile.FIFOTYPE)), "is not a regular file"),
    "tar undecodable": (lambda: make_tar(tar_member("a\udcff.py")), "has a control character"),
    "tar bomb": (
        lambda: make_tar(tar_member("x", size=200 * 2**20), compression="gz"),
        "unpacks to more than",
    ),
    "tar.gz cut short": (
        lambda: io.BytesIO(make_tar(tar_member("x", size=9_999), compression="gz").getvalue()[:60]),
        "not a gzip archive",
    ),
    "tar cut short": (
        lambda: io.BytesIO(make_tar(tar_member("x", size=99_999)).getvalue()[:50_000]),
        "not a tar archive",
    ),
    "tar damaged": (
        lambda: io.BytesIO(make_tar(tar_member("x", size=512)).getvalue()[:1024] + b"junk" * 256),
        "not a tar archive",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archive_is_refused_by_name_and_nothing_is_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, message = HOSTILE[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSnapshot, match=message) as refusal:
        pack(make())
    assert list(tmp_path.iterdir()) == []
    assert refusal.value.field == "source"
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "make",
    [lambda *names: make_zip(*((n, b"") for n in names)), lambda *names: make_tar(*map(tar_member, names))],
)
def test_more_members_than_are_looked_at_names_the_limit_that_counts(
    make: Callable[..., io.BytesIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.services.archive_formats.LISTED_MAX", 3)
    with pytest.raises(
        SnapshotTooBig, match=r"more than 3 members; a snapshot has at most [\d,]+"
    ) as refusal:
        pack(make("a", "b", "c", "d"))
    assert "Take only the folder with your code" in refusal.value.hint


def test_a_refusal_names_the_member() -> None:
    with pytest.raises(InvalidSnapshot, match="“src/link” is a symbolic link") as refusal:
        pack(make_zip(("src/link", b"/etc/passwd"), mode=0o120777))
    assert "`/src/link` in `.amlignore`" in refusal.value.hint


def test_too_many_files_names_limit_largest_and_the_line_that_helps() -> None:
    members = [(f"venv/lib/{n}.py", b"x" * n) for n in range(30)]
    with pytest.raises(SnapshotTooBig) as refusal:
        pack(make_zip(("train.py", b"x"), *members), SMALL)
    assert "The source has 31 files; the limit is 20." in refusal.value.message
    assert refusal.value.message.count("venv/lib/") == 10
    assert "“venv/lib/29.py” 29 B" in refusal.value.message
    assert "`/venv/`" in refusal.value.hint
    assert ".amlignore" in refusal.value.hint


def test_too_many_bytes_names_the_ignore_file_that_is_in_force() -> None:
    noise = os.urandom(1_500_000)
    with pytest.raises(SnapshotTooBig) as refusal:
        pack(make_zip((".gitignore", b"*.log"), ("data/a.npy", noise), ("data/b.npy", noise)), SMALL)
    assert "3.0 MB; the limit is 2 MiB" in refusal.value.message
    assert "The line `/data/a.npy` in `.gitignore` would help." in refusal.value.hint


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ({"d": 2_000, "src": 5}, "/d/"),
        ({"d/train/cats": 1_500, "d/train/dogs": 500, "d/test": 20, "src": 5}, "/d/train/"),
        ({"d/all": 2_000, "e/all": 1_000, "src": 5}, "/d/all/"),
        ({"d": 2_000}, ""),
    ],
)
def test_of_too_many_files_the_folder_with_most_of_them_is_named(sizes: dict[str, int], line: str) -> None:
    files = {f"{folder}/{n}.txt": 1 for folder, count in sizes.items() for n in range(count)}
    assert ignores.line_that_helps(files, max_files=len(files) - 1, max_bytes=10**9) == line


def test_fifty_thousand_files_are_refused_in_seconds() -> None:
    file = make_zip(*((f"data/{n}.txt", b"") for n in range(50_000)))
    started = time.process_time()
    with pytest.raises(SnapshotTooBig, match=r"50,000 files; the limit is 2,000"):
        pack(file)
    assert time.process_time() - started < 30


def test_four_hundred_megabytes_are_refused_without_being_read() -> None:
    class Huge(io.RawIOBase):
        def seek(self, offset: int, whence: int = 0) -> int:
            return 400 * 2**20 if whence else 0

        def read(self, size: int = -1) -> bytes:
            raise AssertionError("it was read")

    entries = archives.file_entries([("data.bin", Huge())])
    with pytest.raises(SnapshotTooBig, match="419 MB; the limit is 300 MiB"):
        archives.pack(entries, limits=LIMITS)


def test_a_file_that_grows_while_it_is_read_meets_the_limit() -> None:
    entry = archives.Entry(name="log.txt", size=1, open=lambda: io.BytesIO(bytes(3 * 2**20)))
    with pytest.raises(SnapshotTooBig, match=r"With “log\.txt” the source passes the limit of 2 MiB"):
        archives.pack([entry], limits=SMALL)


def test_a_huge_list_of_members_is_not_read_into_memory() -> None:
    data = bytearray(make_zip(("a.py", b"x")).getvalue())
    end = data.index(b"PK\x05\x06")
    directory_bytes = 64 * 2**20
    struct.pack_into("<II", data, end + 12, directory_bytes, 0)
    file = io.BytesIO(bytes(directory_bytes) + bytes(data[end:]))
    with pytest.raises(SnapshotTooBig, match="list of members is larger than 16 MiB"):
        pack(file)


def test_memory_stays_flat() -> None:
    file = make_zip(*((f"{n}.bin", os.urandom(2**20)) for n in range(24)))
    tracemalloc.start()
    try:
        size = archive_formats.archive_size(file)
        with archive_formats.archive_entries(file, limits=LIMITS) as entries:
            archives.pack(entries, limits=LIMITS, archive_bytes=size).file.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * 2**20


@pytest.mark.parametrize(
    "name",
    [
        "سكريبت.py",
        "עברית/קובץ.py",
        "🚀/👩‍🔬.py",
        "日本語.txt",
        "a b.py",
        "-rf",
        "..hidden",
        "a..b/c...",
        "it's.py",
        "%2e%2e",
    ],
)
def test_any_other_name_is_fine(name: str) -> None:
    content, _ = pack(make_zip((name, b"x")))
    assert content == {name: b"x"}


def test_a_name_in_unmarked_utf8_is_read_as_utf8() -> None:
    raw = "données.py".encode()
    file = make_zip(("x" * len(raw), b"1"))
    content, _ = pack(io.BytesIO(file.getvalue().replace(b"x" * len(raw), raw)))
    assert list(content) == ["données.py"]


def test_tar_and_tar_gz_bring_the_same_as_zip() -> None:
    zipped, packed = pack(make_zip(("a/train.py", b"xxx"), ("a/run.sh", b"xxxx")))
    for compression in ("", "gz"):
        members = (
            tar_member("./a/train.py", size=3),
            tar_member("a", kind=tarfile.DIRTYPE),
            tar_member("a/run.sh", size=4),
        )
        content, other = pack(make_tar(*members, compression=compression))
        assert content == zipped
        assert other.digest == packed.digest


def test_amlignore_replaces_gitignore() -> None:
    members = [("keep.log", b"1"), ("drop.pt", b"2"), (".gitignore", b"*.log\n"), (".amlignore", b"*.pt\n")]
    content, packed = pack(make_zip(*members))
    assert set(content) == {"keep.log", ".gitignore", ".amlignore"}
    assert packed.left_out == 1
    content, _ = pack(make_zip(*members[:3]))
    assert set(content) == {"drop.pt", ".gitignore"}


def test_ignore_lines_are_read_as_git_reads_them() -> None:
    rules = b"# comment\n/outputs\n*.ckpt\n!best.ckpt\ndata/**\n!data/small.csv\nbuild/\n\\!odd\n"
    kept = ["best.ckpt", "src/outputs/a.py", "src/best.ckpt", "data/small.csv", "build"]
    dropped = ["outputs/m.json", "a.ckpt", "src/b.ckpt", "data/big.csv", "lib/build/x", "!odd"]
    content, _ = pack(make_zip((".amlignore", rules), *((name, b"") for name in kept + dropped)))
    assert set(content) == {".amlignore", *kept}


def test_only_the_root_ignore_file_counts() -> None:
    content, _ = pack(make_zip(("src/.gitignore", b"*"), ("src/a.py", b""), ("b.py", b"")))
    assert set(content) == {"src/.gitignore", "src/a.py", "b.py"}


def test_caches_and_git_are_always_left_out() -> None:
    dropped = [
        ".git/config",
        "sub/.git",
        "a/__pycache__/x.pyc",
        ".azureml/.cache/x",
        "__MACOSX/._a",
        "x/.DS_Store",
    ]
    content, _ = pack(
        make_zip(("a.py", b""), (".azureml/config.json", b"{}"), *((name, b"") for name in dropped))
    )
    assert set(content) == {"a.py", ".azureml/config.json"}


def test_a_link_that_is_ignored_is_no_problem() -> None:
    members = (
        tar_member("a.py"),
        tar_member(".venv/bin/python", kind=tarfile.SYMTYPE, link="/usr/bin/python3"),
    )
    ignored = tar_member(".amlignore")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        ignored.size = len(b".venv")
        archive.addfile(ignored, io.BytesIO(b".venv"))
        for member in members:
            archive.addfile(member)
    content, _ = pack(file)
    assert set(content) == {"a.py", ".amlignore"}


def test_ignoring_everything_says_so() -> None:
    with pytest.raises(InvalidSnapshot, match="no file in it") as refusal:
        pack(make_zip((".amlignore", b"*"), ("a.py", b"")))
    assert "All 2 were left out, see `.amlignore`." in refusal.value.hint


@pytest.mark.parametrize(
    "rules", [b"*a" * 12 + b"b", b"*a*a*ab\n" * 60, b"**/a/" * 40 + b"b", b"*a*a*a/" * 4]
)
def test_ignore_lines_that_would_take_for_ever_are_refused(rules: bytes) -> None:
    names = ("a" * 200, "/".join("a" * 200))
    with pytest.raises(InvalidSnapshot, match=r"Up to line \d+, \.amlignore has too many wildcards"):
        pack(make_zip((".amlignore", b"*.log\n" + rules), *((name, b"") for name in names)))


def test_the_worst_ignore_lines_that_are_taken_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignores, "_MATCHING_MAX_S", 0.5)
    members = [(f"{n}" + "a" * 245, b"") for n in range(300)]
    started = time.process_time()
    with pytest.raises(InvalidSnapshot, match=r"\.amlignore takes too long to apply to 301 files"):
        pack(make_zip((".amlignore", b"*a*a*ab\n" * 17), *members))
    assert time.process_time() - started < 5


def test_a_single_top_folder_is_unwrapped_on_request() -> None:
    members = [
        ("proj/.amlignore", b"*.pt"),
        ("proj/src/train.py", b"1"),
        ("proj/m.pt", b""),
        ("__MACOSX/proj/._x", b""),
    ]
    content, _ = pack(make_zip(*members), unwrap=True)
    assert set(content) == {".amlignore", "src/train.py"}
    content, _ = pack(make_zip(*members))
    assert "proj/src/train.py" in content
    content, _ = pack(make_zip(*members, ("other.py", b"")), unwrap=True)
    assert "proj/src/train.py" in content


def test_a_name_that_is_harmless_only_in_its_folder_is_not_unwrapped() -> None:
    members = [("proj/a:b.py", b""), ("proj/train.py", b"")]
    assert set(pack(make_zip(*members))[0]) == {"proj/a:b.py", "proj/train.py"}
    with pytest.raises(InvalidSnapshot, match=r"“a:b\.py” begins as a drive of Windows does"):
        pack(make_zip(*members), unwrap=True)


def test_the_digest_names_the_content_and_nothing_else() -> None:
    _, one = pack(make_zip(("a.py", b"1"), ("b.py", b"2")))
    _, reordered = pack(make_zip(("b.py", b"2"), ("x/", b""), ("a.py", b"1")))
    _, changed = pack(make_zip(("a.py", b"1"), ("b.py", b"3")))
    _, executable = pack(make_zip(("a.py", b"1"), ("b.py", b"2"), mode=0o100755))
    assert one.digest == reordered.digest
    assert len({one.digest, changed.digest, executable.digest}) == 3


def test_the_manifest_is_the_documented_one() -> None:
    files = [archives.PackedFile("é.sh", 3, "b" * 64, True), archives.PackedFile("a.py", 12, "a" * 64, False)]
    manifest = f"{'a' * 64} 644 12 a.py\n{'b' * 64} 755 3 é.sh\n"
    assert archives.manifest_digest(files) == hashlib.sha256(manifest.encode()).hexdigest()


def test_a_first_line_decides_what_is_executable_where_modes_are_unknown() -> None:
    files = [("run.sh", io.BytesIO(b"#!/bin/sh\n")), ("train.py", io.BytesIO(b"print()"))]
    with archives.pack(archives.file_entries(files), limits=LIMITS) as packed:
        assert [(file.path, file.executable) for file in packed.files] == [
            ("run.sh", True),
            ("train.py", False),
        ]


def test_a_folder_is_read_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "run.sh").write_text("echo")
    (tmp_path / "src" / "run.sh").chmod(0o755)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x")
    with archives.pack(archives.folder_entries(tmp_path), limits=LIMITS) as packed:
        assert [(file.path, file.executable) for file in packed.files] == [("src/run.sh", True)]
    (tmp_path / "escape").symlink_to("/etc")
    with pytest.raises(InvalidSnapshot, match="“escape” is a symbolic link"):
        archives.pack(archives.folder_entries(tmp_path), limits=LIMITS)
    (tmp_path / ".amlignore").write_text("/escape\n")
    archives.pack(archives.folder_entries(tmp_path), limits=LIMITS).file.close()


@given(st.text(max_size=60))
def test_a_name_that_passes_stays_below_its_folder(name: str) -> None:
    try:
        path = archives.check_name(name)
    except InvalidSnapshot:
        return
    assert os.path.normpath(f"/run/code/{path}") == f"/run/code/{path}"
    assert archives.check_name(path) == path


@given(st.dictionaries(st.from_regex(r"([a-c]/){0,4}[d-f]", fullmatch=True), st.integers(0, 99), min_size=1))
def test_the_suggested_line_leaves_out_something_and_not_everything(sizes: dict[str, int]) -> None:
    line = ignores.line_that_helps(sizes, max_files=1, max_bytes=10)
    if line:
        dropped = ignores.left_out(sizes, rules=line, rules_name=".amlignore")
        assert dropped
        assert dropped != set(sizes)
