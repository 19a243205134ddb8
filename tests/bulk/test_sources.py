"""Folders, manifests and tars, also those that were made to do harm."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zlib
from pathlib import Path

import pytest

from onnxplain import ImageError, InputError
from onnxplain.bulk import items
from onnxplain.bulk.items import Item, read_item
from onnxplain.bulk.sources import Source, open_source

from support import bulk as made

pyarrow = pytest.importorskip("pyarrow")


def contents(source: Source) -> dict[str, bytes | str]:
    """Id to bytes, or to what is wrong."""
    found: dict[str, bytes | str] = {}
    for item in source.items:
        try:
            found[item.id] = read_item(item, source.root)
        except ImageError as error:
            found[item.id] = str(error)
    return found


# folders


def test_a_folder_is_listed_with_those_in_it(tmp_path: Path) -> None:
    made.write_photos(tmp_path / "b", 2)
    made.write_photos(tmp_path / "a" / "inner", 1)
    made.write_photos(tmp_path / ".hidden", 1)
    made.write_photos(tmp_path / "maps" / "pictures", 1)
    (tmp_path / "notes.txt").write_text("none")
    found = contents(open_source(tmp_path, leave_out=tmp_path / "maps"))
    assert list(found) == ["a/inner/0000.png", "b/0000.png", "b/0001.png"]
    assert found["b/0001.png"] == made.png(1)


def test_links_do_not_lead_out_of_a_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    made.write_photos(outside, 1)
    folder = made.write_photos(tmp_path / "photos", 1)
    (folder / "inner.png").symlink_to(folder / "0000.png")
    (folder / "away.png").symlink_to(outside / "0000.png")
    (folder / "gone.png").symlink_to(folder / "nothing")
    (folder / "turn.png").symlink_to(folder / "turn.png")
    (folder / "elsewhere").symlink_to(outside)
    found = contents(open_source(folder))
    assert found["inner.png"] == made.png(0)
    assert "leads out of the folder" in str(found["away.png"]) and "--root" in str(found["away.png"])
    assert "cannot be read: No such file" in str(found["gone.png"])
    assert "cannot be read" in str(found["turn.png"])
    assert "is a link to a folder" in str(found["elsewhere"])
    assert contents(open_source(folder, root=tmp_path))["away.png"] == made.png(0)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    assert "is no regular file" in str(contents(open_source(tmp_path))["pipe.png"])


def test_a_name_that_is_no_unicode_is_read(tmp_path: Path) -> None:
    made.write_photos(tmp_path, 1)
    os.rename(tmp_path / "0000.png", os.fsencode(tmp_path) + b"/\xff.png")
    assert contents(open_source(tmp_path)) == {"\\udcff.png": made.png(0)}


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MAX_BYTES", 100)
    (tmp_path / "large.png").write_bytes(bytes(101))
    assert "has 101 bytes, more than the limit of 100" in str(contents(open_source(tmp_path))["large.png"])


def test_a_folder_without_photos_and_one_with_tars_besides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no photos"):
        open_source(tmp_path)
    made.write_photos(tmp_path, 1)
    made.write_tar(tmp_path / "a.tar", {"0.png": made.png(0)})
    with pytest.raises(InputError, match=r"holds photos .* and tars"):
        open_source(tmp_path)


# manifests


def manifest(folder: Path, kind: str, columns: dict[str, list[object]]) -> Path:
    path = folder / f"list.{kind}"
    if kind == "parquet":
        import pyarrow.parquet as parquet

        parquet.write_table(pyarrow.table(columns), path)
    else:
        lines = [
            ",".join(columns),
            *(",".join("" if v is None else str(v) for v in row) for row in zip(*columns.values())),
        ]
        path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_names_photos_and_their_classes(tmp_path: Path, kind: str) -> None:
    made.write_photos(tmp_path / "photos", 2)
    columns = {"path": ["photos/0001.png", str(tmp_path / "photos/0000.png")], "class": ["cat", "3"]}
    source = open_source(manifest(tmp_path, kind, columns), target_column="class")
    assert [item.target for item in source.items] == ["cat", 3]
    assert list(contents(source).values()) == [made.png(1), made.png(0)]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_of_a_manifest_that_lead_nowhere_are_errors(tmp_path: Path, kind: str) -> None:
    folder = made.write_photos(tmp_path / "photos", 1)
    made.write_photos(tmp_path / "outside", 1)
    paths = ["0000.png", "../outside/0000.png", "/etc/passwd", "none.png", None, "x" * 5000, ".", "0000.png"]
    found = open_source(manifest(folder, kind, {"path": paths, "class": ["1"] * 7 + [None]}), target_column="class")
    texts = []
    for item in found.items:
        try:
            texts.append(str(len(read_item(item, found.root))))
        except ImageError as error:
            texts.append(str(error))
    assert texts[0] == str(len(made.png(0)))
    assert "leads out of the folder" in texts[1] and "leads out of the folder" in texts[2]
    assert "No such file" in texts[3] and texts[4] == "row 5: the column 'path' is empty."
    assert "too long" in texts[5] and "no regular file" in texts[6]
    assert texts[7] == "0000.png: the column 'class' is empty."


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("options", [{"path_column": "file"}, {"target_column": "file"}])
def test_a_missing_column_is_refused(tmp_path: Path, kind: str, options: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"list\.\w+ has no column 'file'; it has 'path', 'other'\."):
        open_source(manifest(tmp_path, kind, {"path": ["a.png"], "other": ["b"]}), **options)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", b"path\n\xff\xfe\n"),
        ("list.csv", b"path\n" + b"x" * 200_000 + b"\n"),
        ("list.parquet", b"path\na.png\n"),
        ("list.parquet", b"PAR1" + bytes(100) + b"PAR1"),
        ("list.parquet", b""),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        open_source(tmp_path / name)


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"")
    with pytest.raises(ImageError, match="holds no photos"):
        open_source(tmp_path / "list.csv")


def test_a_null_byte_in_a_path_is_a_row(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        read_item(Item("a", "a\0b"), tmp_path)


# tars


def test_samples_of_tars_are_read_where_they_lie(tmp_path: Path) -> None:
    sample = {
        f"train/{n:03}.{suffix}": value
        for n in range(3)
        for suffix, value in (("cls", b"%d" % n), ("png", made.png(n)))
    }
    made.write_tar(tmp_path / "b.tar", sample)
    made.write_tar(tmp_path / "a.tar", {"x.JPG": b"jpeg", "x.seg.png": b"mask", "._x.jpg": b"hidden", "x.json": b"{}"})
    found = open_source(tmp_path)
    assert contents(found) == {"a.tar/x": b"jpeg", **{f"b.tar/train/{n:03}": made.png(n) for n in range(3)}}
    one = open_source(tmp_path / "b.tar", target_column="cls")
    assert [item.target for item in one.items] == [0, 1, 2]


def test_samples_without_one_photo_or_target_are_errors(tmp_path: Path) -> None:
    members = {"0.txt": b"text", "1.png": b"a", "1.jpg": b"b", "2.png": b"c", "3.cls": b" ", "3.png": b"d"}
    found = contents(open_source(made.write_tar(tmp_path / "a.tar", members), target_column="cls"))
    assert found["a.tar/0"] == "a.tar/0: no photo in the sample: 0.txt."
    assert found["a.tar/1"] == "a.tar/1: several photos in the sample: 1.png, 1.jpg."
    assert found["a.tar/2"] == "a.tar/2: no file with the suffix 'cls' states its target."
    assert found["a.tar/3"] == "a.tar/3: its target in 'cls' is empty."


def test_members_that_lead_out_of_a_tar_are_harmless(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(made.png(9))
    folder = tmp_path / "tars"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name, kind, link in (
            ("link.png", tarfile.SYMTYPE, str(secret)),
            ("hard.png", tarfile.LNKTYPE, "../secret.png"),
            ("device.png", tarfile.CHRTYPE, ""),
            ("fifo.png", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            tar.addfile(info)
        for name in ("../../up.png", "/etc/absolute.png"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"data"))
    before = sorted(tmp_path.rglob("*"))
    found = contents(open_source(folder / "a.tar"))
    for name in ("link", "hard", "device", "fifo"):
        assert found[f"a.tar/{name}"] == f"a.tar/{name}: is a link or no plain file."
    assert found["a.tar/../../up"] == found["a.tar//etc/absolute"] == b"data"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_tar_gives_what_is_sound_and_an_error(tmp_path: Path) -> None:
    members = {f"{n}.png": made.png(n) for n in range(3)}
    whole = made.write_tar(tmp_path / "whole.tar", members).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        second, third = tar.getmembers()[1], tar.getmembers()[2]
    for name, content, sound in (
        ("header.tar", whole[: third.offset] + b"\xff" * 512 + whole[third.offset + 512 :], 2),
        ("data.tar", whole[: second.offset_data + 10], 1),
        ("end.tar", whole[: second.offset], 1),
    ):
        (tmp_path / name).write_bytes(content)
        found = contents(open_source(tmp_path / name))
        assert [value for value in found.values() if isinstance(value, bytes)] == [made.png(n) for n in range(sound)]
        assert "damaged" in str(found[name])


@pytest.mark.parametrize("size", [-512, -1024, -1])
def test_a_file_of_a_tar_with_a_negative_size_ends_it(tmp_path: Path, size: int) -> None:
    """Python's tarfile goes back by it: with -512 to the same header, for ever."""
    whole = made.write_tar(tmp_path / "whole.tar", {f"{n}.png": made.png(n) for n in range(3)})
    with tarfile.open(whole) as tar:
        second = tar.getmembers()[1]
    header = bytearray(whole.read_bytes()[second.offset : second.offset_data])
    header[124:136] = b"\xff" + (size & (2**88 - 1)).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content = whole.read_bytes()
    whole.write_bytes(content[: second.offset] + header + content[second.offset_data :])
    found = contents(open_source(whole))
    assert found == {
        "whole.tar/0": made.png(0),
        "whole.tar": f"whole.tar: the tar is damaged after 1 files: a file has {size} bytes.",
    }


@pytest.mark.parametrize("text", ["+-5", "--5", "+", "1" * 19, "5 5"])
def test_a_target_that_is_no_number_is_a_label(tmp_path: Path, text: str) -> None:
    source = made.write_tar(tmp_path / "a.tar", {"0.png": made.png(0), "0.cls": text.encode()})
    assert [item.target for item in open_source(source, target_column="cls").items] == [text]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.tar", b"no tar at all" * 100),
        ("empty.tar", b""),
        ("packed.tar", gzip.compress(bytes(10240), mtime=0)),
    ],
    ids=["text", "empty", "packed"],
)
def test_a_tar_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is no tar"):
        open_source(tmp_path / name)


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    """A long name is read whole by tarfile; its size is the header's word."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(5 << 30)  # a hole, so that the bytes are there
    with pytest.raises(InputError, match="is no tar: a header has 4294967296 bytes"):
        open_source(path)


def test_a_bomb_of_pixels_is_an_error(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )
    from onnxplain.photos import load_image

    source = open_source(made.write_tar(tmp_path / "a.tar", {"bomb.png": bomb}))
    with pytest.raises(ImageError, match=r"3600000000 pixels|exceeds limit"):
        load_image(read_item(source.items[0], source.root))
