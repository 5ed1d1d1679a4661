"""Pixel values of odd image files against values worked out by hand, and damage of every kind."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from holdfast.data.images import decode, open_image, resolve_inside, resolving_inside
from holdfast.data.stored import Encoded
from holdfast.errors import HoldfastError


def opened(image: Image.Image, file: Path, **options: Any) -> np.ndarray[Any, Any]:
    image.save(file, **options)
    read = open_image(file)
    assert read.mode == "RGB"
    return np.asarray(read).astype(int)


def test_alpha_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 102)])
    pixels = opened(image, tmp_path / "a.png")
    # 0.4 of the colour and 0.6 of white.
    expected = [[200, 0, 0], [255, 255, 255], [0.4 * 200 + 153, 153, 153]]
    assert np.abs(pixels[0] - np.array(expected)).max() <= 1


def test_grey_with_alpha_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("LA", (3, 1))
    image.putdata([(10, 255), (10, 0), (10, 51)])
    pixels = opened(image, tmp_path / "a.png")
    assert np.abs(pixels[0, :, 0] - np.array([10, 255, 0.2 * 10 + 0.8 * 255])).max() <= 1
    assert (pixels[..., 0] == pixels[..., 1]).all()


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_a_transparent_palette_entry_is_white(tmp_path: Path, kind: str) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0] + [0] * (253 * 3))
    image.putdata([0, 1, 2])
    pixels = opened(image, tmp_path / f"a.{kind}", transparency=1)
    assert pixels[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 255, 0]]


def test_a_transparent_colour_of_a_plain_png_is_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1))
    image.putdata([(1, 2, 3), (9, 8, 7)])
    assert opened(image, tmp_path / "a.png", transparency=(9, 8, 7))[0].tolist() == [[1, 2, 3], [255, 255, 255]]
    grey = Image.new("L", (2, 1))
    grey.putdata([7, 40])
    assert opened(grey, tmp_path / "b.png", transparency=40)[0].tolist() == [[7, 7, 7], [255, 255, 255]]


def test_one_bit(tmp_path: Path) -> None:
    image = Image.new("1", (2, 1))
    image.putdata([0, 1])
    assert opened(image, tmp_path / "a.png")[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, kind: str) -> None:
    values = np.array([[0, 257, 16384, 32768, 65535]], dtype=np.uint16)
    pixels = opened(Image.fromarray(values), tmp_path / f"a.{kind}")
    # Pillow's own conversion clips everything above 255 to white.
    assert pixels[0, :, 0].tolist() == [round(value / 257) for value in values[0].tolist()]


def test_twelve_bits_in_sixteen_are_scaled_to_the_range_they_use(tmp_path: Path) -> None:
    values = np.array([[1000, 1000 + 3 * 85, 1000 + 3 * 170, 1000 + 3 * 255]], dtype=np.uint16)
    assert opened(Image.fromarray(values), tmp_path / "ct.png")[0, :, 0].tolist() == [0, 85, 170, 255]
    dark = np.array([[0, 100, 255]], dtype=np.uint16)
    assert opened(Image.fromarray(dark), tmp_path / "eight.png")[0, :, 0].tolist() == [0, 100, 255]


def test_float_grey_is_scaled_to_its_own_range(tmp_path: Path) -> None:
    values = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    assert opened(Image.fromarray(values), tmp_path / "a.tiff")[0, :, 0].tolist() == [0, 128, 255]


def test_shares_of_one_are_scaled_to_the_range_they_use(tmp_path: Path) -> None:
    # 12 bits divided by what 16 hold, as scikit-image's img_as_float does
    values = np.array([[0.0, 2048, 4095]], dtype=np.float32) / np.float32(65535)
    assert opened(Image.fromarray(values), tmp_path / "a.tiff")[0, :, 0].tolist() == [0, 128, 255]
    flat = Image.fromarray(np.full((1, 1), 0.5, dtype=np.float32))
    assert opened(flat, tmp_path / "b.tiff")[0, 0, 0] == 128


def test_holes_are_black_and_infinities_the_ends(tmp_path: Path) -> None:
    values = np.array([[np.nan, 100, 300, 500, np.inf, -np.inf]], dtype=np.float32)
    assert opened(Image.fromarray(values), tmp_path / "a.tiff")[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]
    Image.fromarray(values[:, :1]).save(tmp_path / "b.tiff")
    with pytest.raises(HoldfastError, match="no finite value"):
        open_image(tmp_path / "b.tiff")


def sixteen_bits(kind: int, *values: int) -> bytes:
    """A PNG of one row with 16 bits a value; kind 2 is RGB, 4 grey with alpha, 6 RGB with alpha."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", len(values) // {2: 3, 4: 2, 6: 4}[kind], 1, 16, kind, 0, 0, 0)
    row = zlib.compress(b"\x00" + struct.pack(f">{len(values)}H", *values))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "values", "right"),
    [
        (2, (65535, 32768, 257), [[255, 128, 1]]),
        (2, (0, 2048, 4095, 1024, 0, 1), [[0, 128, 255], [64, 0, 0]]),  # 12 bits
        (2, (0, 1, 255), [[0, 1, 255]]),  # bytes in a wide container
        (4, (0, 65535, 2048, 65535, 4095, 65535), [[0] * 3, [128] * 3, [255] * 3]),
        (4, (4095, 0, 0, 65535), [[255] * 3, [0] * 3]),  # transparent: white shows
        (6, (0, 2048, 4095, 65535), [[0, 128, 255]]),
    ],
)
def test_sixteen_bit_colour(tmp_path: Path, kind: int, values: tuple[int, ...], right: list[list[int]]) -> None:
    (tmp_path / "a.png").write_bytes(sixteen_bits(kind, *values))
    assert np.asarray(open_image(tmp_path / "a.png"))[0].tolist() == right
    assert decode(tmp_path / "a.png") == (len(right), 1)


def test_twelve_bits_of_colour_in_tiff(tmp_path: Path) -> None:
    import struct

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    tags = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, 128), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 134)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 6)]
    directory = struct.pack("<H", len(tags)) + b"".join(entry(*tag) for tag in tags) + struct.pack("<I", 0)
    content = b"II*\x00" + struct.pack("<I", 8) + directory
    content += bytes(128 - len(content)) + struct.pack("<HHH", 16, 16, 16) + struct.pack("<HHH", 0, 2048, 4095)
    (tmp_path / "a.tif").write_bytes(content)
    assert np.asarray(open_image(tmp_path / "a.tif"))[0, 0].tolist() == [0, 128, 255]


def quarters() -> Image.Image:
    """24 x 16: red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", (24, 16), (255, 255, 255))
    image.paste((255, 0, 0), (0, 0, 12, 8))
    image.paste((0, 255, 0), (12, 0, 24, 8))
    image.paste((0, 0, 255), (0, 8, 12, 16))
    return image


# What a camera stored, turned back by the tag's meaning (EXIF 2.32, tag 0x0112), gives the upright picture.
STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("progressive", [False, True])
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, progressive: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = STORED[orientation](quarters())
    pixels = opened(stored, tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0, progressive=progressive)
    assert pixels.shape == (16, 24, 3)
    for (row, column), colour in {(4, 6): (255, 0, 0), (4, 18): (0, 255, 0), (12, 6): (0, 0, 255)}.items():
        assert np.abs(pixels[row, column] - np.array(colour)).max() < 12
    assert pixels[12, 18].min() > 240


def test_cmyk_jpeg(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixels = opened(image, tmp_path / "a.jpg", quality=95)
    assert np.abs(pixels[8, 8] - np.array([255, 0, 0])).max() < 12


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    pixels = opened(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixels[0, 0].tolist() == [255, 0, 0]


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(stream, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}))
    return stream.getvalue()


KINDS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
WHOLE = {kind: encoded(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_open(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(WHOLE[kind])
    assert open_image(tmp_path / "a").size in ((11, 9), (9, 11))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_damage_gives_a_picture_or_one_sentence(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    file = tmp_path_factory.getbasetemp() / "spoilt"
    file.write_bytes(bytes(content))
    try:
        opened = open_image(file)
    except HoldfastError as error:
        assert "'spoilt'" in error.problem
        assert error.remedy
        with pytest.raises(HoldfastError) as caught:
            decode(file)
        assert caught.value.problem == error.problem
    else:
        assert opened.mode == "RGB" and decode(file) == opened.size


def jpeg(mode: str, **options: Any) -> bytes:
    """A JPEG of 60 x 44 pixels: soft shapes and grain, so that its blocks hold many coefficients."""
    random = np.random.default_rng(3)
    soft = Image.fromarray(random.integers(0, 256, (6, 8, 4), dtype=np.uint8)).resize((60, 44))
    pixels = np.clip(np.asarray(soft, dtype=int) + random.integers(-9, 10, (44, 60, 4)), 0, 255).astype(np.uint8)
    image = {"L": Image.fromarray(pixels[..., 0]), "RGB": Image.fromarray(pixels[..., :3])}.get(mode)
    image = image or Image.merge("CMYK", [Image.fromarray(pixels[..., ink]) for ink in range(4)])
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


JPEGS = {
    "plain": jpeg("RGB"),
    "progressive": jpeg("RGB", progressive=True),
    "full colour": jpeg("RGB", subsampling=0, quality=95),
    "restarts": jpeg("RGB", restart_marker_blocks=2),
    "grey": jpeg("L"),
    "inks": jpeg("CMYK"),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_a_check_that_makes_an_eighth_of_a_jpegs_pixels_finds_the_same_damage(kind: str) -> None:
    whole, random = JPEGS[kind], np.random.default_rng(11)

    def told(look: Any, content: bytes) -> Any:
        try:
            found = look(Encoded(content, "it"))
        except HoldfastError as error:
            return error.problem
        return found if isinstance(found, tuple) else found.size

    damaged = [whole[: int(end)] for end in random.integers(1, len(whole), 60)]
    damaged += [whole[:-end] for end in range(1, 20)]
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 9)):
            content[place] = random.choice([0, 0xD0, 0xD9, 0xFF, random.integers(256)])
        damaged.append(bytes(content))
    seen = [told(open_image, content) for content in damaged]
    assert [told(decode, content) for content in damaged] == seen
    assert told(decode, whole) == (60, 44) and 20 < sum(isinstance(one, str) for one in seen) < len(damaged)


NAMES = (
    *(
        "1.png",
        "in/2.png",
        "in/../1.png",
        "in//2.png",
        "./1.png",
        "in/./2.png",
        "away/../1.png",
        "link.png",
        "folder/2.png",
    ),
    *(
        "out/3.png",
        "away/3.png",
        "../3.png",
        "gone.png",
        "gone/1.png",
        "in",
        "in/",
        "in/..",
        ".",
        "..",
        "",
        " ",
        "1.png/",
    ),
    *("1.png/2.png", "loop.png", "loop/1.png", "a\0b", "x" * 300, "in\\2.png", "\ud800.png", "deep/in/2.png"),
)


@pytest.mark.parametrize("absolute", [False, True])
def test_many_names_resolve_as_each_alone(tmp_path: Path, absolute: bool) -> None:
    root, away = tmp_path / "root", tmp_path / "away"
    for folder in (root / "in", away, root / "deep"):
        folder.mkdir(parents=True)
    for file in (root / "1.png", root / "in" / "2.png", away / "3.png"):
        file.write_bytes(b"x")
    (root / "link.png").symlink_to("in/2.png")
    (root / "folder").symlink_to("in")
    (root / "out").symlink_to(away)
    (root / "deep" / "in").symlink_to("../in")
    (root / "loop").symlink_to("loop")
    (root / "loop.png").symlink_to("loop.png")
    (tmp_path / "other").symlink_to(root)

    def told(resolve: Any, name: str) -> Any:
        try:
            return resolve(name)
        except HoldfastError as error:
            return error.problem, error.remedy
        except UnicodeEncodeError:
            return "half a pair"

    for place in (root, tmp_path / "other"):
        names = [f"{place}/{name}" for name in NAMES] if absolute else NAMES
        many = resolving_inside(place)
        found = [told(many, name) for name in names]
        assert found == [told(lambda name, at=place: resolve_inside(at, name), name) for name in names]
        assert sum(isinstance(one, Path) for one in found) == 11


def test_a_link_to_itself_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(HoldfastError, match=r"image path 'loop\.png' cannot be used: "):
        resolve_inside(tmp_path, "loop.png")
