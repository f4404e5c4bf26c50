"""mezzo's pictures against Pillow's and OpenCV's: decoding, orientation, resizing and the whole chain.

Needs image_main, the program built from image_main.cc, in the folder $MEZZO_TEST_PROGRAMS.

Needs Pillow 13 or later: that version changed the order of a resize's two passes for some sizes, which shows in the rounding.

The pictures are made here; those of $MEZZO_SHARED/images (default ../shared/images) are used too where they are present.
8-bit values may differ by 1 (decoders of different versions), which 1/255 is after a division by 255. Resizing the same pixels must
agree exactly with Pillow, and with OpenCV within 1.
"""

import io
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps

PROGRAM = pathlib.Path(os.environ["MEZZO_TEST_PROGRAMS"], "image_main")
ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("MEZZO_SHARED", ROOT.parent / "shared")) / "images"

PILLOW = {
    "pillow_bilinear": Image.Resampling.BILINEAR,
    "pillow_bicubic": Image.Resampling.BICUBIC,
}
# Odd extents, shrinking, growing, both at once, one axis kept, a single pixel.
SIZES = [(224, 224), (37, 91), (640, 480), (1001, 33), (1, 1), (901, 600)]


def run(picture, **settings):
    """The tensor that mezzo makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.bin")
        arguments = [f"{key}={value}" for key, value in settings.items()]
        done = subprocess.run([PROGRAM, str(picture), out, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        dtype, *shape = done.stdout.split()
        return np.fromfile(out, dtype=dtype).reshape([int(extent) for extent in shape])


def pixels(picture, **settings):
    """Height x width x channels, as 8-bit integers."""
    return run(picture, dtype="uint8", layout="nhwc", **settings)[0]


def difference(ours, theirs):
    assert ours.shape == theirs.shape, f"{ours.shape} is not {theirs.shape}"
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


def scene(width, height, channels=3):
    """A smooth picture with edges and some noise: what a photograph asks of a codec."""
    rng = np.random.default_rng(width * 1000 + height)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = []
    for c in range(channels):
        plane = 127 + 90 * np.sin(x / (7 + 5 * c)) * np.cos(y / (11 - 2 * c))
        plane[(x + 2 * y) % 97 < 20] += 60
        planes.append(plane + rng.normal(0, 6, plane.shape))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def noise(width, height):
    """Every value with every neighbour: what stresses the arithmetic of a resize."""
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, bits, color_type, rows, interlace=0):
    """A PNG of rows that are already packed; for what Pillow cannot write."""
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, interlace)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


class Pictures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.shared = sorted(SHARED.glob("*.jpg")) + sorted(SHARED.glob("*.png"))
        cls.made = []
        for width, height in [(333, 251), (64, 48), (17, 130)]:
            path = cls.folder / f"noise_{width}x{height}.png"
            Image.fromarray(noise(width, height)).save(path)
            cls.made.append(path)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def save(self, name, image, **options):
        path = self.folder / name
        image.save(path, **options)
        return path


class Decode(Pictures):
    def check(self, path, tolerance, pillow=True, opencv=True):
        ours = pixels(path)
        if pillow:
            theirs = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
            self.assertLessEqual(difference(ours, theirs), tolerance, f"{path.name} against Pillow")
        if opencv:
            theirs = cv2.imread(str(path))[:, :, ::-1]
            self.assertLessEqual(difference(ours, theirs), tolerance, f"{path.name} against OpenCV")
        self.assertTrue(np.array_equal(ours, pixels(path, memory=1)), f"{path.name} from memory")
        return ours

    def test_shared(self):
        if not self.shared:
            print(f"skipped: no pictures in {SHARED}")
        for path in self.shared:
            with self.subTest(path.name):
                self.check(path, 0 if path.suffix == ".png" else 1)

    def test_jpeg(self):
        picture = Image.fromarray(scene(203, 151))
        for subsampling in (0, 1, 2, "4:1:1"):
            for progressive in (False, True):
                for quality in (30, 92):
                    with self.subTest(subsampling=subsampling, progressive=progressive, quality=quality):
                        path = self.save(
                            "made.jpg",
                            picture,
                            subsampling=subsampling,
                            progressive=progressive,
                            quality=quality,
                        )
                        self.check(path, 1)

    def test_jpeg_restart_markers(self):
        picture = Image.fromarray(scene(203, 151))
        self.check(self.save("restart.jpg", picture, restart_marker_rows=2), 1)

    def test_jpeg_gray_and_cmyk(self):
        self.check(self.save("gray.jpg", Image.fromarray(scene(61, 43, 1)[:, :, 0])), 1)
        # OpenCV divides by 256 where Pillow divides by 255.
        cmyk = Image.fromarray(scene(61, 43)).convert("CMYK")
        self.check(self.save("cmyk.jpg", cmyk), 1, opencv=False)

    def test_orientation(self):
        picture = Image.fromarray(scene(50, 37))
        for orientation in range(1, 9):
            for suffix, options in (
                (".jpg", {"quality": 95}),
                (".png", {}),
                (".webp", {"lossless": True}),
            ):
                with self.subTest(orientation=orientation, suffix=suffix):
                    exif = Image.Exif()
                    exif[0x010F] = "maker"  # an entry that comes before
                    exif[0x0112] = orientation
                    path = self.save("turned" + suffix, picture, exif=exif, **options)
                    shape = self.check(path, 1, opencv=suffix != ".webp").shape
                    self.assertEqual(shape[:2], (37, 50) if orientation < 5 else (50, 37))
                    stored = np.asarray(Image.open(path).convert("RGB"))
                    self.assertLessEqual(difference(pixels(path, orientation=0), stored), 1)

    def test_orientation_big_endian(self):
        tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
        picture = Image.fromarray(scene(50, 37))
        path = self.save("big_endian.jpg", picture, exif=b"Exif\0\0" + tiff)
        self.assertEqual(self.check(path, 1).shape, (50, 37, 3))

    def test_png_color_types(self):
        color = scene(75, 41)
        alpha = np.dstack([color, scene(75, 41, 1)])
        gray = color[:, :, 0]
        images = {
            "rgb": Image.fromarray(color),
            "rgba": Image.fromarray(alpha),
            "gray": Image.fromarray(gray),
            "gray_alpha": Image.fromarray(np.dstack([gray, alpha[:, :, 3]])),
            "one_bit": Image.fromarray(gray).convert("1"),
            "palette": Image.fromarray(color).convert("P", palette=Image.Palette.ADAPTIVE),
            "palette_of_5": Image.fromarray(color).convert("P", palette=Image.Palette.ADAPTIVE, colors=5),
        }
        for name, image in images.items():
            with self.subTest(name):
                self.check(self.save(name + ".png", image), 0)

    def test_png_transparent_color(self):
        color = Image.fromarray(scene(75, 41))
        palette = color.convert("P", palette=Image.Palette.ADAPTIVE)
        self.check(self.save("palette_clear.png", palette, transparency=3), 0, opencv=False)
        self.check(self.save("color_clear.png", color, transparency=(1, 2, 3)), 0, opencv=False)

    def test_png_16_bits(self):
        wide = np.random.default_rng(3).integers(0, 65536, (41, 75, 3), dtype=np.uint16)
        cv2.imwrite(str(self.folder / "rgb16.png"), wide)
        ours = self.check(self.folder / "rgb16.png", 0)
        self.assertTrue(np.array_equal(ours, (wide >> 8)[:, :, ::-1]))
        # Pillow clips 16-bit grey at 255 when it converts; OpenCV takes the upper half as we do.
        cv2.imwrite(str(self.folder / "gray16.png"), wide[:, :, 0])
        self.check(self.folder / "gray16.png", 0, pillow=False)

    def test_png_few_bits(self):
        rng = np.random.default_rng(5)
        for bits in (1, 2, 4):
            rows = [rng.bytes((33 * bits + 7) // 8) for _ in range(9)]
            with self.subTest(bits=bits):
                self.check(self.write(f"gray{bits}.png", png(33, 9, bits, 0, rows)), 0)

    def test_png_interlaced(self):
        # Pillow writes none: Adam7 of a 3 x 3 picture, pass by pass (PNG specification, section 8.2).
        value = np.arange(9, dtype=np.uint8).reshape(3, 3) * 28
        passes = [
            value[0::8, 0::8], value[0::8, 4::8], value[4::8, 0::4], value[0::4, 2::4],
            value[2::4, 0::2], value[0::2, 1::2], value[1::2, 0::1],
        ]  # fmt: skip
        rows = [row.tobytes() for part in passes if part.size for row in part]
        path = self.write("adam7.png", png(3, 3, 8, 0, rows, interlace=1))
        self.assertTrue(np.array_equal(self.check(path, 0)[:, :, 1], value))

    def test_webp(self):
        color = scene(99, 70)
        alpha = np.dstack([color, np.full(color.shape[:2], 200, np.uint8)])
        self.check(self.save("lossy.webp", Image.fromarray(color), quality=80), 1)
        self.check(self.save("lossless.webp", Image.fromarray(color), lossless=True), 0)
        self.check(self.save("lossy_alpha.webp", Image.fromarray(alpha), quality=80), 1)
        self.check(self.save("exact_alpha.webp", Image.fromarray(alpha), lossless=True, exact=True), 0)

    def test_webp_animation(self):
        frames = [Image.fromarray(scene(60, 40)), Image.fromarray(scene(60, 40)[::-1])]
        for lossless in (False, True):
            path = self.save(
                "moving.webp", frames[0], save_all=True, append_images=frames[1:], lossless=lossless
            )
            with Image.open(path) as image:
                self.assertEqual(image.n_frames, 2)
            self.check(path, 0 if lossless else 1, opencv=False)

    def test_name_does_not_matter(self):
        buffer = io.BytesIO()
        Image.fromarray(scene(40, 30)).save(buffer, "PNG")
        self.check(self.write("really_a_png.jpg", buffer.getvalue()), 0)

    def test_truncated(self):
        picture = Image.fromarray(scene(120, 90))
        for suffix, options in (
            (".jpg", {}),
            (".jpg", {"progressive": True}),
            (".png", {}),
            (".webp", {}),
            (".webp", {"lossless": True}),
        ):
            buffer = io.BytesIO()
            picture.save(buffer, {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[suffix], **options)
            whole = buffer.getvalue()
            for share in (0.01, 0.2, 0.5, 0.9, 0.99):
                with self.subTest(suffix=suffix, options=options, share=share):
                    path = self.write("short" + suffix, whole[: int(len(whole) * share)])
                    with self.assertRaises(RuntimeError) as caught:
                        pixels(path)
                    self.assertIn("short" + suffix, str(caught.exception))


class Resample(Pictures):
    def sources(self):
        """Files of which all three programs read the same pixels: what is compared is the resize alone."""
        for path in self.made + [path for path in self.shared if path.suffix == ".png"]:
            yield path, Image.open(path).convert("RGB")
        for path in self.shared:
            if path.suffix == ".jpg":
                lossless = self.folder / (path.stem + ".png")
                image = Image.open(path).convert("RGB")
                image.save(lossless, compress_level=1)
                yield lossless, image

    def test_exact_sizes(self):
        for path, image in self.sources():
            width, height = image.size
            for size in SIZES + [(width, 50), (50, height), (width * 2, height * 2), (width // 2, height // 2)]:
                exact = f"exact:{size[0]}x{size[1]}"
                for name, method in PILLOW.items():
                    with self.subTest(path.name, size=size, filter=name):
                        theirs = np.asarray(image.resize(size, method))
                        self.assertEqual(difference(pixels(path, resize=exact, filter=name), theirs), 0)
                with self.subTest(path.name, size=size, filter="opencv_linear"):
                    theirs = cv2.resize(np.asarray(image), size, interpolation=cv2.INTER_LINEAR)
                    ours = pixels(path, resize=exact, filter="opencv_linear")
                    self.assertLessEqual(difference(ours, theirs), 1)

    def test_gray(self):
        for path, image in self.sources():
            with self.subTest(path.name):
                ours = pixels(path, color="gray")[:, :, 0]
                self.assertEqual(difference(ours, np.asarray(image.convert("L"))), 0)
                theirs = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2GRAY)
                self.assertLessEqual(difference(ours, theirs), 1)
                for name, method in PILLOW.items():
                    theirs = np.asarray(image.convert("L").resize((101, 77), method))
                    ours = pixels(path, color="gray", resize="exact:101x77", filter=name)[:, :, 0]
                    self.assertEqual(difference(ours, theirs), 0)


def center_crop(image, size):
    """torchvision.transforms.functional.center_crop for a PIL image that is large enough."""
    left = int(round((image.width - size) / 2.0))
    top = int(round((image.height - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def short_side(image, size, method):
    """torchvision.transforms.functional.resize(image, int)."""
    if image.width <= image.height:
        return image.resize((size, int(size * image.height / image.width)), method)
    return image.resize((int(size * image.width / image.height), size), method)


class Chain(Pictures):
    """From the file to the tensor, decoders included: within 1/255 before the division by std."""

    def test_imagenet(self):
        mean = np.array([0.485, 0.456, 0.406], np.float32)
        std = np.array([0.229, 0.224, 0.225], np.float32)
        for path in self.shared + self.made:
            with self.subTest(path.name):
                image = center_crop(short_side(Image.open(path).convert("RGB"), 256, PILLOW["pillow_bilinear"]), 224)
                theirs = ((np.asarray(image, np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)[None]
                ours = run(path, preset="imagenet")
                self.assertEqual((ours.dtype, ours.shape), (np.float32, (1, 3, 224, 224)))
                limit = (1 / 255 + 1e-6) / std[:, None, None]
                self.assertTrue((np.abs(ours - theirs) <= limit).all())
                if path.suffix == ".png":
                    self.assertTrue(np.array_equal(ours, theirs))

    def test_plain(self):
        for path in self.shared + self.made:
            with self.subTest(path.name):
                theirs = cv2.resize(cv2.imread(str(path)), (224, 224)).astype(np.float32) / 256
                ours = run(path, preset="plain")
                self.assertEqual(ours.shape, (1, 3, 224, 224))
                self.assertLessEqual(np.abs(ours - theirs.transpose(2, 0, 1)[None]).max(), 1 / 255)

    def test_bicubic_around_127(self):
        settings = dict(
            resize="short_side:256", filter="pillow_bicubic", crop="224x224", mean="127,127,127", std="128,128,128"
        )
        for path in self.shared + self.made:
            with self.subTest(path.name):
                image = center_crop(short_side(Image.open(path).convert("RGB"), 256, PILLOW["pillow_bicubic"]), 224)
                theirs = (np.asarray(image, np.float32) - 127) / 128
                ours = run(path, layout="nhwc", **settings)[0]
                self.assertLessEqual(np.abs(ours - theirs).max(), 1 / 128)
                half = run(path, layout="nhwc", dtype="float16", **settings)[0]
                self.assertTrue(np.array_equal(half, ours.astype(np.float16)))

    def test_crop_is_part_of_the_whole(self):
        """Only the window is computed: its pixels must be those of the whole picture."""
        path = self.made[0]
        for name in (*PILLOW, "opencv_linear"):
            for size in ((120, 95), (801, 603)):
                with self.subTest(filter=name, size=size):
                    settings = dict(resize=f"exact:{size[0]}x{size[1]}", filter=name)
                    whole = Image.fromarray(pixels(path, **settings))
                    ours = pixels(path, crop="64x64", **settings)
                    self.assertTrue(np.array_equal(ours, np.asarray(center_crop(whole, 64))))

