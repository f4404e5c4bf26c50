"""What nudenet detects on photographs (faces, here)."""

import json
import os
import sys

from nudenet import NudeDetector

detector = NudeDetector()
pictures = [os.path.join(sys.argv[1], name) for name in ("grace_hopper.jpg", "chelsea.png", "china.jpg")]
print(json.dumps([detector.detect(picture) for picture in pictures] + [detector.detect_batch(pictures)]))
