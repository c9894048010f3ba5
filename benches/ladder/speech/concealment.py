"""How well is lost sound made up? Speaks, lets `peer/examples/concealment.rs` lose some of it, and judges by PESQ.

Prints a table in Markdown. What follows `--` goes to cargo, such as `--features libopus`.
"""

import argparse
import collections
import json
import pathlib
import re
import statistics
import subprocess
import tempfile

import numpy
from scipy.io import wavfile

from score import WORST, mos_lqo, read, samples

HERE = pathlib.Path(__file__).resolve().parent
UTTERANCE = 8.0  # seconds that are judged at once: two sentences
PAUSE = 0.4  # seconds before each sentence
VOICES = ("slt", "rms", "awb")
LEVEL = 0.05 * 32768  # 26 dB below the loudest there is, as P.830 has it


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cargo", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speech = pathlib.Path(folder, "speech.wav")
        turns = [say(folder, voice, text) for voice in VOICES for text in sentences()]
        wavfile.write(speech, 48_000, numpy.concatenate(turns))
        command = ["cargo", "run", "--release", "--quiet", "--package", "peer", "--example", "concealment"]
        lines = subprocess.run([*command, *options.cargo, "--", speech, folder], stdout=subprocess.PIPE, check=True).stdout
        show([json.loads(line) for line in lines.splitlines()], read(speech), pathlib.Path(folder))


def show(recordings, reference, folder):
    """The table: a row for each decoder and rate, a column for each way to lose packets."""
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    for recording in recordings:
        rows[recording["decoder"], recording["kilobits"]][recording["losses"]].append(recording)
    losses = list(dict.fromkeys(recording["losses"] for recording in recordings))
    print("| decoder | kbit/s |", " | ".join(losses), "| decoding µs | concealing µs |")
    print("|---|---|" + "---|" * len(losses) + "---|---|")
    for (decoder, kilobits), row in rows.items():
        scores = [statistics.fmean(judge(reference, folder, row[kind])) for kind in losses]
        taken = [statistics.median(each[what] for kind in losses for each in row[kind] if each[what])
                 for what in ("decode_us", "conceal_us")]
        print("|", decoder, "|", kilobits, "|", " | ".join(f"{score:.2f}" for score in scores), "|",
              " | ".join(f"{micros:.0f}" for micros in taken), "|", flush=True)


def judge(reference, folder, recordings):
    """The score of each utterance."""
    length = samples(UTTERANCE)
    for recording in recordings:
        heard = read(folder / recording["wav"])
        for begin in range(0, len(heard) - length + samples(PAUSE), length):
            wanted, got = (sound[begin:begin + length] for sound in (reference, heard))
            score = mos_lqo(wanted, got)
            yield WORST if score is None else score


def sentences():
    """What the ladder says."""
    material = (HERE / "material.rs").read_text()
    return re.findall(r'"(.*)"', re.search(r"const SENTENCES: .*? = \[(.*?)\];", material, re.DOTALL)[1])


def say(folder, voice, text):
    """Half an utterance, as loud as every other."""
    spoken = pathlib.Path(folder, "sentence.wav")
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", spoken], check=True)
    resample = ["ffmpeg", "-nostdin", "-v", "error", "-i", spoken, "-ar", "48000", "-ac", "1", "-f", "s16le", "-"]
    sound = numpy.frombuffer(subprocess.run(resample, stdout=subprocess.PIPE, check=True).stdout, "<i2").astype(float)
    turn = numpy.zeros(round(UTTERANCE / 2 * 48_000))
    begin = round(PAUSE * 48_000)
    turn[begin:begin + len(sound)] = sound * LEVEL / numpy.sqrt(numpy.mean(sound ** 2))
    return numpy.clip(turn, -32768, 32767).astype(numpy.int16)


if __name__ == "__main__":
    main()
