"""How good is what was heard? Wide-band PESQ (ITU-T P.862.2) of each utterance, as JSON.

All recordings are WAV files with one channel of 16 bits: the speech as it was made, what the microphone heard of it, and
what the loudspeaker played. The last two begin at the same moment.
"""

import argparse
import json
import statistics

import numpy
from pesq import NoUtterancesError, pesq
from scipy.io import wavfile
from scipy.signal import correlate, resample_poly

RATE = 16_000  # what wide-band PESQ takes
MOST_DELAY = 4.0  # seconds from mouth to ear, at most
EARLY = 0.1  # seconds by which nothing is heard before it is said, for the clocks' sake
WORST = 1.0  # the score of silence, for which PESQ has none


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("reference", "said", "heard"):
        parser.add_argument(name)
    parser.add_argument("--begins", type=float, nargs="+", required=True, help="where utterances begin, in seconds")
    parser.add_argument("--length", type=float, required=True, help="how long each is, in seconds")
    options = parser.parse_args()
    reference, said, heard = (read(path) for path in (options.reference, options.said, options.heard))
    spoken_at = find(reference, said)
    length = samples(options.length)
    utterances = [judge(reference, heard, samples(begin), length, spoken_at) for begin in options.begins]
    scores = [utterance["mos_lqo"] for utterance in utterances]
    delays = [utterance["delay_ms"] for utterance in utterances if utterance["delay_ms"] is not None]
    print(json.dumps({
        "utterances": utterances,
        "count": len(scores),
        "mean": statistics.fmean(scores),
        "worst": min(scores),
        "delay_ms": statistics.median(delays) if delays else None,
    }))


def judge(reference, heard, begin, length, spoken_at):
    """Score and delay of one utterance, which was said at `spoken_at + begin`."""
    wanted = reference[begin:begin + length]
    earliest = max(0, spoken_at + begin - samples(EARLY))
    place = heard[earliest:earliest + length + samples(EARLY + MOST_DELAY)]
    if len(place) < length or not place.any():
        return {"mos_lqo": WORST, "delay_ms": None}
    at = earliest + find(wanted, place)
    delay_ms = (at - spoken_at - begin) * 1000 / RATE
    score = mos_lqo(wanted, heard[at:at + length])
    return {"mos_lqo": WORST, "delay_ms": None} if score is None else {"mos_lqo": score, "delay_ms": delay_ms}


def mos_lqo(wanted, got):
    """The score of what lies at the same place in both; None where PESQ finds no speech."""
    try:
        return pesq(RATE, wanted, got, "wb")
    except NoUtterancesError:
        return None


def find(sound, recording):
    """Where in the recording the sound begins."""
    if len(recording) < len(sound):
        recording = numpy.pad(recording, (0, len(sound) - len(recording)))
    return int(numpy.argmax(correlate(recording, sound, mode="valid", method="fft")))


def read(path):
    rate, recorded = wavfile.read(path)
    common = numpy.gcd(rate, RATE)
    resampled = resample_poly(recorded / 32768.0, RATE // common, rate // common)
    return resampled.astype(numpy.float32)


def samples(seconds):
    return round(seconds * RATE)


if __name__ == "__main__":
    main()
