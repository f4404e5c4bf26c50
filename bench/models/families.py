"""More networks for `peers`, a few of each family that people deploy: `./dev bench peers --models families`.

From their papers, some of them shortened (each says what is left out), as PyTorch's exporter writes them with batch
normalisation folded into the convolutions, with weights from a seed.
"""

from __future__ import annotations

import generative
import signals
import transformer
import vision

_VISION = (
    vision.densenet121, vision.mobilenet_v3, vision.efficientnet_b0, vision.resnext50, vision.regnetx, vision.mobilefacenet, vision.yolov8n,
    vision.deeplab_v3, vision.shufflenet_v2, vision.convnext, vision.inception_v3, vision.style_transfer,
)  # fmt: skip
_TRANSFORMERS = (
    transformer.vit, transformer.swin, transformer.whisper_encoder, transformer.gpt2, transformer.llama_prompt, transformer.llama_step,
    transformer.llama_step_int4, transformer.t5_encoder, transformer.segformer,
)  # fmt: skip
_SIGNALS = (signals.unet_3d, signals.c3d, signals.ecapa_tdnn, signals.crnn, signals.wav2vec2, signals.conv_tasnet)
_GENERATIVE = (generative.real_esrgan, generative.hifigan, generative.diffusion_unet)
FAMILIES = {network.__name__: network for network in (*_VISION, *_TRANSFORMERS, *_SIGNALS, *_GENERATIVE)}
