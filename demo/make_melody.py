"""Writes the demo's melody and what ONNX Runtime hears in it: melody.wav, melody.npy, melody.expected.npz.

    make_melody.py        (with the Python that `cargo xtask models` set up)

Two seconds at 22 050 Hz, one window of the model: C4, E4, G4, C5, and then C5, E4 and G4 together. The .npy holds the same samples
as the .wav, as the model's input wants them. A floor of noise keeps every band of the model's logarithm away from zero, as in a recording.
"""

import wave
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
RATE, SAMPLES = 22050, 43844
# MIDI number, start and length in seconds.
NOTES = [(60, 0.0, 0.38), (64, 0.4, 0.38), (67, 0.8, 0.38), (72, 1.2, 0.75), (64, 1.2, 0.75), (67, 1.2, 0.75)]


def note(number, start, length):
    """A string that is plucked, rings with four harmonics, and is damped."""
    time = np.arange(SAMPLES) / RATE - start
    frequency = 440 * 2 ** ((number - 69) / 12)
    strength = np.where(time >= 0, np.exp(-2.2 * time.clip(0)) * (1 - np.exp(-150 * time.clip(0))), 0)
    strength *= np.exp(-40 * (time - length).clip(0))
    return strength * sum(np.sin(2 * np.pi * frequency * h * time) / h**2 for h in range(1, 5))


def main():
    sound = sum(note(*each) for each in NOTES)
    sound = 0.6 * sound / np.abs(sound).max() + np.random.default_rng(8).normal(0, 0.005, SAMPLES)
    samples = np.round(32767 * sound).astype("<i2")
    with wave.open(str(HERE / "melody.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    model_input = (samples.astype(np.float32) / 32768).reshape(1, SAMPLES, 1)
    np.save(HERE / "melody.npy", model_input)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    running = onnxruntime.InferenceSession(str(HERE / "basic_pitch.onnx"), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in running.get_outputs()]
    answer = running.run(names, {running.get_inputs()[0].name: model_input})
    np.savez_compressed(HERE / "melody.expected.npz", **dict(zip(names, answer, strict=True)))


if __name__ == "__main__":
    main()
