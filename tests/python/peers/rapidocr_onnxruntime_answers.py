"""What rapidocr_onnxruntime reads on a page, upright and upside down: detection, direction and recognition."""

import json

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rapidocr_onnxruntime import RapidOCR

LINES = ["Every tensor is an output", "Invoice 2024-0317", "Total: 1,284.50 EUR", "hello@example.org"]

page = Image.new("RGB", (640, 360), "white")
for i, line in enumerate(LINES):
    ImageDraw.Draw(page).text((30, 30 + 80 * i), line, fill=(20, 20, 60), font=ImageFont.load_default(size=34))
pixels = np.asarray(page)[:, :, ::-1].copy()

ocr = RapidOCR()
answers = []
for picture in (pixels, cv2.rotate(pixels, cv2.ROTATE_180)):
    found, _ = ocr(picture)
    answers.append([[text, float(score), np.asarray(box).tolist()] for box, text, score in found or []])
print(json.dumps(answers))
