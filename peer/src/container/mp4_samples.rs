//! Where the frames of an MP4 file lie and when they are shown (ISO/IEC 14496-12 §8.6 to §8.8).
//!
//! The tables come from a file and are not trusted: counts are bounded, sums are checked.

use mp4_atom::{Moof, Moov, StszSamples, Traf, Trak, Trex};

use crate::params::SAMPLE_RATE;

/// One frame: where it lies and when it is decoded and shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sample {
    /// Its track's place among the tracks that are read.
    pub(super) place: usize,
    pub(super) offset: u64,
    pub(super) size: u32,
    pub(super) is_key: bool,
    pub(super) decode_micros: i64,
    pub(super) shown_micros: i64,
    decode_time: i64,
    duration: u32,
}

impl Sample {
    /// When the next sample of its track is decoded, in the track's ticks.
    pub(super) fn end(&self) -> i64 {
        self.decode_time.saturating_add(self.duration.into())
    }
}

/// How a track's ticks become microseconds of the film.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    ticks_per_second: i64,
    /// Microseconds added to every time: edits, and for Opus the sound before the beginning.
    shift: i64,
}

impl Timeline {
    /// The time line of `trak`: an empty edit delays it, the first real edit says which tick is zero. Sound counts
    /// from where it went into its encoder, as it does in Matroska.
    pub(super) fn new(moov: &Moov, trak: &Trak, pre_skip: u16) -> Result<Self, String> {
        let ticks_per_second = i64::from(trak.mdia.mdhd.timescale);
        if ticks_per_second == 0 {
            return Err("track without a time scale".to_owned());
        }
        let mut shift = i64::from(pre_skip) * 1_000_000 / i64::from(SAMPLE_RATE);
        let edits = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()).map(|elst| elst.entries.as_slice());
        for edit in edits.unwrap_or_default() {
            if let Some(start) = edit.media_time {
                let start = i64::try_from(start).map_err(|_| "edit that begins beyond all time".to_owned())?;
                shift = shift.saturating_sub(to_micros(start, ticks_per_second));
                break;
            }
            let span = i64::try_from(edit.segment_duration).map_err(|_| "edit beyond all time".to_owned())?;
            shift = shift.saturating_add(to_micros(span, i64::from(moov.mvhd.timescale.max(1))));
        }
        Ok(Timeline { ticks_per_second, shift })
    }

    /// The mean rate of these frames of one track, in thousandths of a frame a second; 0 where it cannot be told.
    pub(super) fn rate(&self, samples: &[Sample]) -> u32 {
        let ticks: u64 = samples.iter().map(|sample| u64::from(sample.duration)).sum();
        let frames = samples.len() as u128 * 1000 * u128::from(self.ticks_per_second.unsigned_abs());
        let rate = (frames + u128::from(ticks) / 2).checked_div(ticks.into());
        rate.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(0)
    }

    fn sample(&self, place: usize, position: Position, timing: Timing) -> Sample {
        let micros = |ticks| to_micros(ticks, self.ticks_per_second).saturating_add(self.shift);
        Sample {
            place,
            offset: position.offset,
            size: position.size,
            is_key: timing.is_key,
            decode_micros: micros(timing.decode_time),
            shown_micros: micros(timing.decode_time.saturating_add(timing.shown_after)),
            decode_time: timing.decode_time,
            duration: timing.duration,
        }
    }
}

/// Ticks as microseconds, rounded to the nearest.
fn to_micros(ticks: i64, per_second: i64) -> i64 {
    let scaled = i128::from(ticks) * 1_000_000 + i128::from(per_second) / 2;
    i64::try_from(scaled.div_euclid(i128::from(per_second))).unwrap_or(i64::MAX)
}

#[derive(Clone, Copy, Debug)]
struct Position {
    offset: u64,
    size: u32,
}

#[derive(Clone, Copy, Debug)]
struct Timing {
    decode_time: i64,
    duration: u32,
    shown_after: i64,
    is_key: bool,
}

/// Appends the frames of the sample table in `moov`; a fragmented file has an empty one.
pub(super) fn from_table(
    place: usize,
    trak: &Trak,
    timeline: &Timeline,
    limit: usize,
    samples: &mut Vec<Sample>,
) -> Result<(), String> {
    let table = &trak.mdia.minf.stbl;
    let mut durations = table.stts.entries.iter().flat_map(|run| repeat(run.sample_delta, run.sample_count));
    let offsets = table.ctts.iter().flat_map(|ctts| &ctts.entries);
    let mut shown_after = offsets.flat_map(|run| repeat(run.sample_offset, run.sample_count));
    let mut keys = table.stss.as_ref().map(|stss| stss.entries.iter().copied().peekable());
    let mut decode_time = 0_i64;
    let mut number = 0_u32;
    let mut sizes = sizes(&table.stsz.samples);
    for (chunk, per_chunk) in chunks(trak)? {
        let mut offset = chunk;
        for _ in 0..per_chunk {
            let Some(size) = sizes.next() else {
                return Ok(());
            };
            if samples.len() >= limit {
                return Err(format!("more than {limit} frames"));
            }
            number = number.saturating_add(1);
            let duration = durations.next().unwrap_or(0);
            let is_key = keys.as_mut().is_none_or(|keys| {
                while keys.next_if(|key| *key < number).is_some() {}
                keys.peek() == Some(&number)
            });
            let timing = Timing { decode_time, duration, shown_after: shown_after.next().unwrap_or(0), is_key };
            samples.push(timeline.sample(place, Position { offset, size }, timing));
            offset = offset.saturating_add(size.into());
            decode_time = decode_time.saturating_add(duration.into());
        }
    }
    Ok(())
}

/// The sizes of all samples.
fn sizes(samples: &StszSamples) -> Box<dyn Iterator<Item = u32> + '_> {
    match samples {
        StszSamples::Identical { count, size } => Box::new(repeat(*size, *count)),
        StszSamples::Different { sizes } => Box::new(sizes.iter().copied()),
    }
}

/// Where each chunk begins and how many samples it has.
fn chunks(trak: &Trak) -> Result<Vec<(u64, u32)>, String> {
    let table = &trak.mdia.minf.stbl;
    let starts: Vec<u64> = match (&table.stco, &table.co64) {
        (Some(short), _) => short.entries.iter().map(|offset| u64::from(*offset)).collect(),
        (None, Some(long)) => long.entries.clone(),
        (None, None) => Vec::new(),
    };
    let mut runs = table.stsc.entries.iter().peekable();
    let mut per_chunk = 0;
    let mut chunks = Vec::with_capacity(starts.len());
    for (number, start) in (1_u32..).zip(starts) {
        while let Some(run) = runs.next_if(|run| run.first_chunk <= number) {
            per_chunk = run.samples_per_chunk;
        }
        if per_chunk == 0 {
            return Err(format!("chunk {number} has no samples"));
        }
        chunks.push((start, per_chunk));
    }
    Ok(chunks)
}

/// `value`, `count` times, without memory for each.
fn repeat<T: Copy>(value: T, count: u32) -> impl Iterator<Item = T> {
    (0..count).map(move |_| value)
}

/// One `moof` for one track.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) place: usize,
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) moof: &'a Moof,
    pub(super) trex: Option<&'a Trex>,
}

impl Fragment<'_> {
    /// Appends the fragment's frames, which begin at `decode_time` unless it says otherwise; gives where they end.
    pub(super) fn append(
        &self,
        timeline: &Timeline,
        decode_time: i64,
        samples: &mut Vec<Sample>,
    ) -> Result<i64, String> {
        let mut decode_time = decode_time;
        for traf in self.moof.traf.iter().filter(|traf| u64::from(traf.tfhd.track_id) == self.number) {
            if let Some(start) = &traf.tfdt {
                decode_time = i64::try_from(start.base_media_decode_time).map_err(|_| "time beyond all time")?;
            }
            decode_time = self.append_runs(traf, timeline, decode_time, samples)?;
        }
        Ok(decode_time)
    }

    fn append_runs(
        &self,
        traf: &Traf,
        timeline: &Timeline,
        mut decode_time: i64,
        samples: &mut Vec<Sample>,
    ) -> Result<i64, String> {
        let head = &traf.tfhd;
        let base = head.base_data_offset.unwrap_or(self.offset);
        let defaults = (
            head.default_sample_duration.or(self.trex.map(|trex| trex.default_sample_duration)).unwrap_or(0),
            head.default_sample_size.or(self.trex.map(|trex| trex.default_sample_size)).unwrap_or(0),
            head.default_sample_flags.or(self.trex.map(|trex| trex.default_sample_flags)).unwrap_or(0),
        );
        let mut offset = base;
        for run in &traf.trun {
            if let Some(distance) = run.data_offset {
                offset = base.checked_add_signed(distance.into()).ok_or("run of frames before the file")?;
            }
            if samples.len().saturating_add(run.samples.len()) > crate::params::MAX_MP4_SAMPLES {
                return Err(format!("run of {} frames", run.samples.len()));
            }
            for entry in run.samples.iter() {
                let timing = Timing {
                    decode_time,
                    duration: entry.duration.unwrap_or(defaults.0),
                    shown_after: entry.cts.unwrap_or(0),
                    is_key: entry.flags.unwrap_or(defaults.2) & NOT_A_KEY_FRAME == 0,
                };
                let size = entry.size.unwrap_or(defaults.1);
                samples.push(timeline.sample(self.place, Position { offset, size }, timing));
                offset = offset.saturating_add(size.into());
                decode_time = decode_time.saturating_add(timing.duration.into());
            }
        }
        Ok(decode_time)
    }
}

/// `sample_is_non_sync_sample` among a sample's flags (ISO/IEC 14496-12 §8.8.3.1).
const NOT_A_KEY_FRAME: u32 = 0x1_0000;

/// Moves all times by the same span so that none lies below zero.
pub(super) fn lift_above_zero(samples: &mut [Sample]) {
    let earliest = samples.iter().map(|sample| sample.shown_micros).min().unwrap_or(0);
    if earliest < 0 {
        for sample in samples {
            sample.shown_micros = sample.shown_micros.saturating_sub(earliest);
        }
    }
}
