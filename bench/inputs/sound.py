"""Music: plucked notes, each a decaying sum of harmonics, as basic-pitch's window of two seconds at 22 050 Hz.

A recording has a floor of noise, and so has this one. The model divides logarithms of power by their range over the whole window, so one
band that nearly cancels decides about the scale of everything: on an unlucky window ONNX Runtime differs from itself by 8e-4 between two
of its optimisation levels. The seeds below are windows where it agrees with itself within 3e-5, so that a difference of 1e-4 says something.
"""

import numpy as np

RATE, SAMPLES = 22050, 43844
NOISE, NOISE_SEEDS = 0.005, [30, 17, 8]
SCALE = [60, 62, 64, 65, 67, 69, 71, 72]


def window(seed):
    time = np.arange(SAMPLES) / RATE
    sound = np.zeros(SAMPLES)
    for step in range(6):
        pitch = SCALE[(seed * 3 + step * 2) % len(SCALE)]
        frequency, start = 440 * 2 ** ((pitch - 69) / 12), step * 0.32
        local = np.clip(time - start, 0, None)
        envelope = np.where(time >= start, np.exp(-3.5 * local) * (1 - np.exp(-200 * local)), 0)
        for harmonic in range(1, 7):
            sound += envelope * np.sin(2 * np.pi * frequency * harmonic * local) / harmonic**1.3
    noise = np.random.default_rng(NOISE_SEEDS[seed]).normal(0, NOISE, SAMPLES)
    return (0.5 * sound / np.abs(sound).max() + noise).astype(np.float32)


def windows(batch):
    return np.stack([window(seed) for seed in range(batch)])[..., None]
