from __future__ import annotations

import io
import tracemalloc

import pytest

from api.middleware.errors import InvalidRequest
from api.submit.multipart import FormField, FormFile, FormShape, MalformedForm, boundary_of, parse_form
from shared.errors import TooLarge

SHAPE = FormShape(files={"images": 10_000, "archive": 10**9}, fields={"options": 100})


def part(disposition: bytes, data: bytes = b"data") -> bytes:
    return b"--sep\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--sep--\r\n"


def read(body: bytes) -> list[tuple[str, str | None, bytes]]:
    found: list[tuple[str, str | None, bytes]] = []
    for item in parse_form(io.BytesIO(body).read, b"sep", SHAPE):
        if isinstance(item, FormFile):
            found.append((item.name, item.file_name, item.spool.rewound().read()))
            item.spool.close()
        else:
            found.append((item.name, None, item.value))
    return found


def test_fields_and_files_come_in_any_order() -> None:
    file, field = part(b'name="images"; filename="a.jpg"', b"A"), part(b'name="options"', b"{}")

    assert read(form(file, field, file)) == [
        ("images", "a.jpg", b"A"),
        ("options", None, b"{}"),
        ("images", "a.jpg", b"A"),
    ]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'filename="a b.jpg"', "a b.jpg"),
        (b"filename=plain.jpg", "plain.jpg"),
        (b'filename="a/b/c.jpg"', "a/b/c.jpg"),
        (b'filename="../../etc/x.jpg"', "../../etc/x.jpg"),
        ('filename="写真/😀.jpg"'.encode(), "写真/😀.jpg"),
        ('filename="ü.jpg"'.encode(), "ü.jpg"),
        (b'filename="say %22cheese%22.jpg"', 'say "cheese".jpg'),
        (b'filename="say \\"cheese\\".jpg"', 'say "cheese".jpg'),
        (b'filename="two%0D%0Alines.jpg"', "two\r\nlines.jpg"),
        (b'filename="100%25 %41.jpg"', "100%25 %41.jpg"),
        (b"filename*=UTF-8''%E5%86%99%E7%9C%9F.jpg", "写真.jpg"),
        (b"filename*=UTF-8''a%2FB%250A.jpg", "a/B%0A.jpg"),
        (b"filename=\"x.jpg\"; filename*=UTF-8''%C3%BC.jpg", "ü.jpg"),
        (b'filename="caf\xe9.jpg"', "caf\ufffd.jpg"),
        (b'filename="a;b=c.jpg"', "a;b=c.jpg"),
        (b'filename=""', ""),
    ],
)
def test_a_file_name_arrives_as_it_was_given(header: bytes, name: str) -> None:
    assert read(form(part(b'name="images"; ' + header))) == [("images", name, b"data")]


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"--", b"\r\n--se", b"--sep", b"\r" * 300, b"\n--sep--\n", bytes(9_999)]
)
def test_the_content_of_a_file_arrives_as_it_was_sent(data: bytes) -> None:
    assert read(form(part(b'name="images"; filename="a"', data))) == [("images", "a", data)]


class SlowBody(io.BytesIO):
    """A body that arrives a few bytes at a time, as over a slow connection."""

    def __init__(self, body: bytes, step: int) -> None:
        super().__init__(body)
        self._step = step

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._step)


@pytest.mark.parametrize("step", range(1, 40))
def test_a_form_is_parsed_alike_in_pieces_of_any_size(step: int) -> None:
    body = form(part(b'name="images"; filename="a"', b"\r\n--se\r\n-"), part(b'name="options"', b"{}"))
    parts = list(parse_form(SlowBody(body, step).read, b"sep", SHAPE))

    assert isinstance(parts[0], FormFile)
    assert parts[0].spool.rewound().read() == b"\r\n--se\r\n-"
    assert parts[1] == FormField(name="options", value=b"{}")
    parts[0].spool.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing like a form",
        b"--sep",
        b"--sep\r\n",
        part(b'name="images"; filename="a"'),
        part(b'name="images"; filename="a"')[:-8],
        b"--other\r\nContent-Disposition: form-data; name=options\r\n\r\nx\r\n--other--\r\n",
        b"--sep\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--sep--\r\n",
        b"--sep\r\nX: " + b"y" * 600_000 + b"\r\n\r\nx\r\n--sep--\r\n",
        b"p" * 600_000,
        form(part(b'filename="a"')),
    ],
    ids=[
        "empty",
        "no_form",
        "boundary_cut_off",
        "no_part",
        "no_end",
        "cut_off_in_file",
        "other_boundary",
        "no_disposition",
        "endless_header",
        "endless_preamble",
        "no_name",
    ],
)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedForm):
        read(body)


@pytest.mark.parametrize(
    ("disposition", "says"),
    [
        (b'name="image"; filename="a"', "no part 'image'; it takes archive, images, options"),
        (b'name="x"', "no part 'x'"),
        (b'name="images"', "'images' must be a file"),
        (b'name="options"; filename="o.json"', "'options' must be a field"),
    ],
)
def test_an_unexpected_part_is_named(disposition: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        read(form(part(disposition)))


def test_a_field_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="longer than 100 bytes"):
        read(form(part(b'name="options"', b"x" * 101)))


def test_a_file_beyond_its_limit_is_truncated_and_its_size_counted() -> None:
    (item,) = parse_form(
        io.BytesIO(form(part(b'name="images"; filename="a"', bytes(30_000)))).read, b"sep", SHAPE
    )

    assert isinstance(item, FormFile)
    assert (item.spool.size, item.spool.kept) == (30_000, 10_000)
    item.spool.close()


@pytest.mark.parametrize("boundary", ["", "a" * 201, "ä"])
def test_an_invalid_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(MalformedForm):
        boundary_of(f'multipart/form-data; boundary="{boundary}"')


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(MalformedForm):
        boundary_of("multipart/form-data")


class Endless(io.RawIOBase):
    """A form with one file of `size` zeros, made while it is read."""

    def __init__(self, size: int) -> None:
        self._head = part(b'name="archive"; filename="a"', b"")[:-2]
        self._left = size

    def read(self, size: int = -1) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        if self._left == 0:
            self._left = -1
            return b"\r\n--sep--\r\n"
        data = bytes(min(size, max(self._left, 0)))
        self._left -= len(data)
        return data


def test_a_large_file_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        (item,) = parse_form(Endless(64 * 2**20).read, b"sep", SHAPE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(item, FormFile)
    assert item.spool.size == 64 * 2**20
    assert peak < 16 * 2**20
    item.spool.close()


def test_a_form_of_too_many_empty_parts_is_refused() -> None:
    shape = FormShape(files={}, fields={"options": 100}, parts=3)
    three, four = (form(*[part(b'name="options"', b"")] * count) for count in (3, 4))

    assert len(list(parse_form(io.BytesIO(three).read, b"sep", shape))) == 3
    with pytest.raises(TooLarge):
        list(parse_form(io.BytesIO(four).read, b"sep", shape))
