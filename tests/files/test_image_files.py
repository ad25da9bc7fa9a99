import contextlib
import errno
import io
import os
import struct
import threading
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from yoso import files
from yoso.errors import ConfigError, DatasetError, ImageError
from yoso.files import (
    id_to_rgb,
    opening,
    probe_image,
    read_id_map,
    read_image,
    to_rgb,
    write_id_map,
)

RGB = np.random.default_rng(5).integers(0, 256, (6, 9, 3), np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(0, 240, 8)[:, None], np.arange(0, 200, 5), 90), -1).astype(np.uint8)


def png(width, height, depth, color_type, rows, *extra):
    """Write a PNG byte by byte, for the kinds that Pillow reads but does not write."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", header), *(chunk(*e) for e in extra), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture
def saved(tmp_path):
    def save(image, name="image.png", **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save


class TestModes:
    def test_rgb_and_the_array_is_writable(self, saved):
        got = read_image(saved(Image.fromarray(RGB)))
        np.testing.assert_array_equal(got, RGB)
        assert got.dtype == np.uint8
        got[0, 0] = 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation(self, saved, orientation):
        upright = Image.fromarray(RGB)
        method = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }.get(orientation)
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = upright.transpose(method) if method is not None else upright
        path = saved(stored, exif=exif.tobytes())
        np.testing.assert_array_equal(read_image(path), RGB)

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    def test_damaged_exif_is_ignored(self, saved):
        path = saved(Image.fromarray(SMOOTH), "image.jpg", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
        assert np.abs(read_image(path).astype(int) - SMOOTH).max() < 20

    def test_grayscale(self, saved):
        np.testing.assert_array_equal(read_image(saved(Image.fromarray(RGB[..., 0]))), RGB[..., [0, 0, 0]])

    def test_one_bit(self, saved):
        bits = Image.fromarray(RGB[..., 0]).convert("1")
        assert set(np.unique(read_image(saved(bits)))) == {0, 255}

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparency_is_laid_over_white(self, saved, mode):
        image = Image.new(mode, (3, 1), (0,) * len(mode))
        opaque = (40, 40, 40, 255) if mode == "RGBA" else (40, 255)
        half = (*opaque[:-1], 128)
        image.putpixel((1, 0), opaque)
        image.putpixel((2, 0), half)
        got = read_image(saved(image))[0, :, 0].astype(int)
        assert got[0] == 255
        assert got[1] == 40
        assert abs(got[2] - 147) <= 1

    def test_palette(self, saved):
        image = Image.fromarray(SMOOTH).quantize(64)
        np.testing.assert_array_equal(read_image(saved(image)), np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize("transparency", [1, b"\xff\x00"], ids=["index", "table"])
    def test_palette_with_transparency(self, saved, transparency):
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 200, 0, 0])
        image.putpixel((1, 0), 1)
        assert read_image(saved(image, transparency=transparency)).tolist() == [[[10, 20, 30], [255, 255, 255]]]

    def test_rgb_with_a_transparent_color(self, saved):
        image = Image.new("RGB", (2, 1), (10, 20, 30))
        image.putpixel((1, 0), (1, 2, 3))
        assert read_image(saved(image, transparency=(1, 2, 3))).tolist() == [[[10, 20, 30], [255, 255, 255]]]

    def test_16_bit_grayscale_png(self, saved):
        values = np.array([[0, 128, 257 * 100, 32896, 65535]], np.uint16)
        assert read_image(saved(Image.fromarray(values)))[0, :, 1].tolist() == [0, 0, 100, 128, 255]

    def test_16_bit_grayscale_with_a_transparent_value(self, tmp_path):
        path = tmp_path / "gray.png"
        path.write_bytes(png(2, 1, 16, 0, [struct.pack(">2H", 257, 500)], (b"tRNS", struct.pack(">H", 500))))
        assert read_image(path)[0, :, 0].tolist() == [1, 255]

    def test_48_bit_rgb_png(self, tmp_path):
        path = tmp_path / "deep.png"
        path.write_bytes(png(2, 1, 16, 2, [struct.pack(">6H", 0, 257, 514, 65535, 25700, 32896)]))
        assert read_image(path).tolist() == [[[0, 1, 2], [255, 100, 128]]]

    def test_64_bit_rgba_png(self, tmp_path):
        path = tmp_path / "deep.png"
        path.write_bytes(png(2, 1, 16, 6, [struct.pack(">8H", 257, 514, 771, 65535, 1, 2, 3, 0)]))
        assert read_image(path).tolist() == [[[1, 2, 3], [255, 255, 255]]]

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.float32([[0, 0.5, 1]]), [0, 128, 255]),
            (np.float32([[0, 100, 255]]), [0, 100, 255]),
            (np.float32([[-5, np.nan, 65535]]), [0, 0, 255]),
            (np.float32([[0, 600_000, 1_000_000]]), [0, 153, 255]),
            (np.int32([[0, 1]]), [0, 255]),
            (np.int32([[0, 100, 255]]), [0, 100, 255]),
            (np.int32([[-5, 0, 200]]), [0, 0, 200]),
            (np.int32([[0, 25700, 65535]]), [0, 100, 255]),
            (np.int32([[0, 1_000_000_000, 2_000_000_000]]), [0, 128, 255]),
        ],
    )
    def test_deep_tiff(self, saved, values, expected):
        assert read_image(saved(Image.fromarray(values), "deep.tiff"))[0, :, 2].tolist() == expected

    @pytest.mark.parametrize("highest", [1, 7, 255, 256, 65535, 65536, 2**24, 10**9])
    def test_integers_and_floats_of_equal_values_read_equal(self, saved, highest):
        values = np.linspace(0, highest, 500).astype(np.int32).astype(np.float32).reshape(20, 25)
        floats = read_image(saved(Image.fromarray(values), "float.tiff"))
        integers = read_image(saved(Image.fromarray(values.astype(np.int32)), "integer.tiff"))
        np.testing.assert_array_equal(integers, floats)
        assert len(np.unique(integers)) > 1

    def test_a_deep_pgm_file_says_its_range(self, tmp_path):
        """Pillow holds it as 32-bit integers, as a TIFF file that does not say its range."""
        path = tmp_path / "deep.pgm"
        path.write_bytes(b"P5 3 1 65535\n" + struct.pack(">3H", 0, 255, 25700))
        assert read_image(path)[0, :, 0].tolist() == [0, 1, 100]

    @pytest.mark.parametrize("name", ["image.jpg", "image.tiff"])
    def test_cmyk(self, saved, name):
        """Pillow stores CMYK in JPEG inverted, as Adobe does."""
        options = {"quality": 95} if name.endswith("jpg") else {}
        got = read_image(saved(Image.fromarray(SMOOTH).convert("CMYK"), name, **options))
        assert np.abs(got.astype(int) - SMOOTH).max() < 20

    def test_first_frame_of_an_animation(self, saved):
        frames = [Image.new("RGB", (4, 3), color) for color in ((255, 0, 0), (0, 255, 0))]
        path = saved(frames[0], "image.gif", save_all=True, append_images=frames[1:])
        assert (read_image(path) == [255, 0, 0]).all()

    def test_the_pil_image_is_left_as_it_was(self):
        image = Image.fromarray(RGB)
        image.getexif()[0x0112] = 6
        to_rgb(image)
        assert image.size == (9, 6)
        assert image.getexif()[0x0112] == 6

    def test_one_pixel(self, saved):
        assert read_image(saved(Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


class TestLargeImages:
    def test_a_hundred_megapixels(self, tmp_path):
        path = tmp_path / "large.png"
        path.write_bytes(png(20_000, 5_000, 1, 0, [bytes(2500)] * 5_000))
        with opening.opened(path, ImageError, "an image") as image:
            assert image.size == (20_000, 5_000)

    def test_more_than_the_limit(self, tmp_path):
        path = tmp_path / "bomb.png"
        path.write_bytes(png(40_000, 40_000, 1, 0, []))
        with pytest.raises(ImageError, match=r"bomb.png: is 40000 x 40000, more than 200 megapixels; resize or crop"):
            read_image(path)

    def test_the_limit_can_be_raised(self, tmp_path, monkeypatch):
        path = tmp_path / "image.png"
        path.write_bytes(png(20, 10, 1, 0, [bytes(3)] * 10))
        monkeypatch.setenv("YOSO_MAX_PIXELS", "199")
        with pytest.raises(ImageError, match=r"more than 0\.000199 megapixels; .* --max-pixels or YOSO_MAX_PIXELS"):
            read_image(path)
        monkeypatch.setenv("YOSO_MAX_PIXELS", "200")
        assert read_image(path).shape == (10, 20, 3)

    @pytest.mark.parametrize("text", ["0", "-1", "1e6", "many", "9" * 30, "²"])
    def test_a_limit_that_is_no_number(self, text, saved, monkeypatch):
        monkeypatch.setenv("YOSO_MAX_PIXELS", text)
        with pytest.raises(ConfigError, match="give a number of pixels"):
            read_image(saved(Image.fromarray(RGB)))

    def test_threads_count_together(self, monkeypatch):
        monkeypatch.setenv("YOSO_MAX_PIXELS", "100")
        order, entered = [], threading.Event()

        def other():
            entered.set()
            with opening.budget.taken(60):
                order.append("other")

        thread = threading.Thread(target=other)
        with opening.budget.taken(60):
            thread.start()
            assert entered.wait(10)
            thread.join(0.1)
            order.append("first")
        thread.join(10)
        assert order == ["first", "other"]

    @pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
    def test_reading_takes_at_most_ten_bytes_a_pixel(self, mode, saved):
        """Of Python's memory: NumPy's arrays and Pillow's buffers of bytes; Pillow itself holds up to 4 more."""
        path = saved(Image.new(mode, (2000, 1500)), "image.tiff")
        tracemalloc.start()
        read_image(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6 * 2000 * 1500 + 12 * 2**20

    def test_pillows_limit_is_put_back_by_the_last_thread(self):
        before = Image.MAX_IMAGE_PIXELS
        inside, leave = threading.Event(), threading.Event()

        def other():
            with opening.large_images_allowed:
                inside.set()
                leave.wait(10)

        thread = threading.Thread(target=other)
        with opening.large_images_allowed:
            thread.start()
            assert inside.wait(10)
        assert Image.MAX_IMAGE_PIXELS is None
        leave.set()
        thread.join()
        assert before == Image.MAX_IMAGE_PIXELS

    def test_pillows_limit_is_put_back_after_an_error(self, tmp_path):
        before = Image.MAX_IMAGE_PIXELS
        with pytest.raises(ImageError):
            read_image(tmp_path / "nothing.png")
        assert before == Image.MAX_IMAGE_PIXELS


class TestUnreadable:
    def fails(self, path, match, reader=read_image, error=ImageError):
        with pytest.raises(error, match=match) as caught:
            reader(path)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert "\n" not in message

    def test_missing(self, tmp_path):
        self.fails(tmp_path / "none.jpg", "no such file")

    def test_a_folder(self, tmp_path):
        self.fails(tmp_path, "is a folder")

    def test_a_file_used_as_a_folder(self, tmp_path):
        (tmp_path / "file").touch()
        self.fails(tmp_path / "file" / "a.jpg", "cannot be read|no such file")

    def test_empty(self, tmp_path):
        path = tmp_path / "empty.jpg"
        path.touch()
        self.fails(path, "is empty")

    @pytest.mark.parametrize("name", ["a.jpg", "a.eps", "a.ico", "a.pdf"])
    def test_formats_whose_decoder_starts_a_program_are_not_decoded(self, name, tmp_path, monkeypatch):
        monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
        path = tmp_path / name
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n")
        for reader, error in ((read_image, ImageError), (probe_image, ImageError), (read_id_map, DatasetError)):
            self.fails(path, "its format is not supported", reader, error)

    def test_every_suffix_has_a_format(self, saved):
        Image.init()
        formats = {Image.EXTENSION.get(suffix) for suffix in files.IMAGE_SUFFIXES}
        assert formats <= set(opening.image_formats())

    def test_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.jpg")
        self.fails(tmp_path / "pipe.jpg", "is a pipe or a device, not an image")
        self.fails(tmp_path / "pipe.jpg", "is a pipe or a device", read_id_map, DatasetError)
        self.fails("/dev/zero", "is a pipe or a device")

    def test_not_an_image(self, tmp_path):
        path = tmp_path / "text.jpg"
        path.write_text("hello, this is not an image")
        self.fails(path, "is not an image")

    @pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.gif", "image.tiff", "image.webp", "image.bmp"])
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
    def test_truncated_at_any_place(self, saved, name, share):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        path = saved(Image.fromarray(noise), name)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        self.fails(path, "damaged|is not an image")

    @pytest.mark.parametrize("seed", range(30))
    @pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.gif", "image.tiff"])
    @pytest.mark.filterwarnings("ignore")
    def test_flipped_bytes_never_end_in_anything_else(self, saved, name, seed):
        path = saved(Image.fromarray(SMOOTH), name)
        content = bytearray(path.read_bytes())
        random = np.random.default_rng(seed)
        for position in random.integers(0, min(len(content), 400), 6):
            content[position] = random.integers(0, 256)
        path.write_bytes(content)
        with contextlib.suppress(ImageError):
            assert read_image(path).ndim == 3

    def test_permission_denied(self, saved, monkeypatch):
        path = saved(Image.fromarray(RGB))

        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Image, "open", refuse)
        self.fails(path, "permission denied")

    def test_no_pixels(self, tmp_path, monkeypatch):
        path = tmp_path / "zero.ppm"
        path.write_bytes(b"P6 0 0 255\n")
        self.fails(path, "has no pixels|is not an image|damaged")
        monkeypatch.setattr(Image, "open", lambda *_, **__: Image.new("RGB", (0, 5)))
        self.fails(path, r"has no pixels \(0 x 5\)")
        with pytest.raises(ImageError, match="no pixels"):
            to_rgb(Image.new("RGB", (5, 0)))

    def test_id_map_errors_are_data_set_errors(self, saved, tmp_path):
        self.fails(tmp_path / "none.png", "no such file", read_id_map, DatasetError)
        self.fails(tmp_path, "is a folder", read_id_map, DatasetError)
        self.fails(saved(Image.new("L", (3, 3))), "this one is L", read_id_map, DatasetError)
        path = saved(Image.fromarray(RGB), "cut.png")
        path.write_bytes(path.read_bytes()[:60])
        self.fails(path, "damaged|is not a panoptic PNG", read_id_map, DatasetError)


def test_id_maps_come_back(tmp_path):
    ids = np.array([[0, 1, 255], [256, 65536, 2**24 - 1]], np.int32)
    write_id_map(tmp_path / "ids.png", ids)
    np.testing.assert_array_equal(read_id_map(tmp_path / "ids.png"), ids)
    np.testing.assert_array_equal(files.rgb_to_id(id_to_rgb(ids)), ids)


def test_an_image_in_memory_is_read_too():
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG")
    with Image.open(buffer) as image:
        np.testing.assert_array_equal(to_rgb(image), RGB)
