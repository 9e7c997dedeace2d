"""Files are known by their first bytes, whatever they are called."""

import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.magic import HEAD, detect_type


def zipped(*names: str, content: bytes = b"x") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()[:HEAD]


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()[:HEAD]


OFFICE = "application/vnd.openxmlformats-officedocument"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", None),
        (b"just text", None),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"MZ\x90\x00", "application/x-dosexec"),
        (b"\x7fELF\x02", "application/x-elf"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
        (b"{\\rtf1", "application/rtf"),
        (b"Rar!\x1a\x07\x01\x00", "application/vnd.rar"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"<!DOCTYPE html>", "text/html"),
        (b"\xef\xbb\xbf \r\n<HTML>", "text/html"),
        (b"<?xml version='1.0'?><svg/>", "image/svg+xml"),
        (b"<?xml version='1.0'?><a/>", "text/xml"),
        (tarred(), "application/x-tar"),
        (zipped("a.txt"), "application/zip"),
        (zipped("word/document.xml"), f"{OFFICE}.wordprocessingml.document"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), f"{OFFICE}.spreadsheetml.sheet"),
        (zipped("[Content_Types].xml"), OFFICE),
        (zipped("META-INF/MANIFEST.MF"), "application/java-archive"),
        (zipped("mimetype", content=b"application/epub+zip"), "application/epub+zip"),
        (zipped("mimetype", content=b"application/" + b"x" * 300), "application/zip"),
    ],
)
def test_types(head: bytes, kind: str | None) -> None:
    assert detect_type(head) == kind


@given(st.binary(max_size=100), st.sampled_from([b"", b"PK\x03\x04", b"PK\x03\x04" + b"x" * 30 + b"mimetypeapplication/"]))
def test_any_bytes_are_some_type_or_none(head: bytes, start: bytes) -> None:
    kind = detect_type(start + head)
    assert kind is None or "/" in kind
