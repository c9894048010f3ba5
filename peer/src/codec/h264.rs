//! H.264 Constrained Baseline: what every browser and every phone decodes.
//!
//! The encoder gives one Annex B frame for each picture, at once. The decoder takes what the track describes: Annex B,
//! or length-prefixed with an `avcC`.

use bytes::BytesMut;
use meipo::media::Track;
use meipo::params::MAX_PICTURE_SIDE;
use meipo::units::{Bitrate, CaptureTime};
use openh264::OpenH264API;
use openh264::decoder::{Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;
use openh264_sys2::{
    CAMERA_VIDEO_REAL_TIME, CONSTANT_ID, LOW_COMPLEXITY, PRO_BASELINE, RC_BITRATE_MODE, SEncParamExt, SM_SINGLE_SLICE,
};

use super::avc::{self, AvcConfig, AvcError, SequenceShape, UnitKind};
use super::openh264_ffi::RawEncoder;
use super::{CodecError, EncodedPicture, Picture, VideoDecoder, VideoEncoder};
use crate::params::{MAX_ENCODED_PICTURE, MAX_TEMPORAL_LAYERS};

/// What an encoder of pictures is made for.
#[derive(Clone, Copy, Debug)]
pub struct VideoSettings {
    /// Pixels a line; even.
    pub width: u16,
    /// Lines; even.
    pub height: u16,
    /// Thousandths of a frame a second.
    pub millihertz: u32,
    /// The rate to begin with.
    pub bitrate: Bitrate,
    /// The highest rate there will ever be.
    pub max_bitrate: Bitrate,
    /// 1 to 3: how many temporal layers, so that receivers on thin lines can leave some out.
    pub temporal_layers: u8,
}

/// Raw pictures in, H.264 Constrained Baseline in Annex B out.
#[derive(Debug)]
pub struct H264Encoder {
    raw: RawEncoder,
    codec: String,
    max_bits: i32,
    needs: Dependencies,
}

impl H264Encoder {
    /// An encoder whose first picture is a key frame.
    ///
    /// # Errors
    /// When a setting is out of range or the library refuses them together.
    pub fn new(settings: &VideoSettings) -> Result<Self, CodecError> {
        check_settings(settings)?;
        let max_bits = bits(settings.max_bitrate.max(settings.bitrate))?;
        let start_bits = bits(settings.bitrate)?;
        let mut raw = RawEncoder::new(|params| apply(settings, start_bits, max_bits, params))?;
        let sets = raw.parameter_sets()?;
        let codec = avc::annex_b_units(&sets)
            .find(|unit| avc::kind_of(unit) == UnitKind::Sequence)
            .and_then(avc::codec_string)
            .ok_or(AvcError::Sequence(sets.len()))?;
        Ok(H264Encoder { raw, codec, max_bits, needs: Dependencies::default() })
    }
}

impl VideoEncoder for H264Encoder {
    fn encode(&mut self, picture: &Picture, captured: CaptureTime) -> Result<EncodedPicture, CodecError> {
        let mut data = BytesMut::new();
        let millis = i64::try_from(captured.as_micros() / 1000).unwrap_or(i64::MAX);
        let raw = self.raw.encode(picture, millis, &mut data)?;
        if data.is_empty() {
            return Err(CodecError::H264 { action: "encoding without output", code: 0 });
        }
        Ok(EncodedPicture {
            data: data.freeze(),
            is_key: raw.is_key,
            temporal_layer: raw.temporal_layer,
            needs: self.needs.next(raw.is_key, raw.temporal_layer),
        })
    }

    fn force_key(&mut self) {
        self.raw.force_key();
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), CodecError> {
        self.raw.set_bitrate(bits(bitrate)?.min(self.max_bits))
    }

    fn codec(&self) -> &str {
        &self.codec
    }
}

/// Refuses what the library would refuse with a bare number.
fn check_settings(settings: &VideoSettings) -> Result<(), CodecError> {
    let (width, height) = (settings.width, settings.height);
    if width < 16 || height < 16 || width % 2 == 1 || height % 2 == 1 || width > 3840 || height > 2160 {
        let allowed = "H.264 encodes even sizes from 16×16 to 3840×2160";
        return Err(CodecError::PictureSize(width.into(), height.into(), allowed));
    }
    if !(1..=MAX_TEMPORAL_LAYERS).contains(&settings.temporal_layers) {
        return Err(CodecError::Setting {
            what: "temporal layers",
            found: settings.temporal_layers.into(),
            allowed: "1 to 3 are possible",
        });
    }
    if !(1000..=120_000).contains(&settings.millihertz) {
        return Err(CodecError::Setting {
            what: "frame rate in thousandths",
            found: settings.millihertz.into(),
            allowed: "1 to 120 frames a second are possible",
        });
    }
    Ok(())
}

/// A rate as the library takes it.
fn bits(bitrate: Bitrate) -> Result<i32, CodecError> {
    let refused =
        CodecError::Setting { what: "bit rate", found: bitrate.as_bits(), allowed: "10 kb/s to 200 Mb/s are possible" };
    if !(10_000..=200_000_000).contains(&bitrate.as_bits()) {
        return Err(refused);
    }
    i32::try_from(bitrate.as_bits()).map_err(|_| refused)
}

/// Constrained Baseline without skipped frames, without key frames of its own accord, one slice a picture.
fn apply(settings: &VideoSettings, start_bits: i32, max_bits: i32, params: &mut SEncParamExt) {
    let rate = f64::from(settings.millihertz) / 1000.0;
    #[expect(clippy::cast_possible_truncation, reason = "at most 120 frames a second, as checked")]
    let rate = rate as f32;
    params.iUsageType = CAMERA_VIDEO_REAL_TIME;
    params.iPicWidth = settings.width.into();
    params.iPicHeight = settings.height.into();
    params.iTargetBitrate = start_bits;
    params.iMaxBitrate = max_bits;
    params.iRCMode = RC_BITRATE_MODE;
    params.fMaxFrameRate = rate;
    params.iTemporalLayerNum = settings.temporal_layers.into();
    params.iSpatialLayerNum = 1;
    params.iComplexityMode = LOW_COMPLEXITY;
    params.uiIntraPeriod = 0;
    params.iMultipleThreadIdc = 1;
    params.bEnableFrameSkip = false;
    params.bEnableLongTermReference = false;
    params.bEnableAdaptiveQuant = false;
    params.bEnableBackgroundDetection = false;
    params.bEnableSceneChangeDetect = false;
    params.bEnableDenoise = false;
    params.eSpsPpsIdStrategy = CONSTANT_ID;
    params.iEntropyCodingModeFlag = 0;
    let [layer, ..] = &mut params.sSpatialLayers;
    layer.iVideoWidth = settings.width.into();
    layer.iVideoHeight = settings.height.into();
    layer.fFrameRate = rate;
    layer.iSpatialBitrate = start_bits;
    layer.iMaxSpatialBitrate = max_bits;
    layer.uiProfileIdc = PRO_BASELINE;
    layer.sSliceArgument.uiSliceMode = SM_SINGLE_SLICE;
    layer.sSliceArgument.uiSliceNum = 1;
}

/// Which earlier picture each picture needs: the latest of a lower temporal layer, or of the base layer for the base.
#[derive(Debug, Default)]
struct Dependencies {
    /// How many pictures ago each layer last had one; `None` before it had any.
    ages: [Option<u8>; 4],
}

impl Dependencies {
    /// How many pictures back the needed one lies; 0 for a key frame.
    fn next(&mut self, is_key: bool, layer: u8) -> u8 {
        let layer = usize::from(layer);
        let lower = self.ages.iter().take(layer.max(1));
        let needs = if is_key { 0 } else { lower.flatten().min().map_or(1, |age| age + 1) };
        for age in &mut self.ages {
            *age = if is_key { None } else { age.map(|age| age.saturating_add(1).min(254)) };
        }
        if let Some(age) = self.ages.get_mut(layer) {
            *age = Some(0);
        }
        needs
    }
}

/// H.264 in, raw pictures out. A stream with B-frames comes out one picture late and is better left to browsers.
pub struct H264Decoder {
    decoder: Decoder,
    config: Option<AvcConfig>,
    annex_b: Vec<u8>,
}

impl std::fmt::Debug for H264Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H264Decoder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl H264Decoder {
    /// A decoder for the pictures of `track`: Annex B if its description is empty, else length-prefixed.
    ///
    /// # Errors
    /// When the description is no `avcC`, or asks for pictures larger than are decoded.
    pub fn new(track: &Track) -> Result<Self, CodecError> {
        let config = match track.description.as_ref() {
            [] => None,
            record => Some(AvcConfig::parse(record)?),
        };
        for unit in config.iter().flat_map(AvcConfig::parameter_sets) {
            check_size(unit)?;
        }
        let options = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let decoder = Decoder::with_api_config(OpenH264API::from_source(), options).map_err(undecodable)?;
        Ok(H264Decoder { decoder, config, annex_b: Vec::new() })
    }

    /// Puts one frame into `annex_b`, the parameter sets first where the track keeps them apart.
    fn fill_annex_b(&mut self, data: &[u8]) -> Result<(), CodecError> {
        self.annex_b.clear();
        let Some(config) = &self.config else {
            avc::annex_b_units(data).try_for_each(check_size)?;
            self.annex_b.extend_from_slice(data);
            return Ok(());
        };
        let units = config.units(data)?;
        let is_key = units.iter().any(|unit| avc::kind_of(unit) == UnitKind::KeySlice);
        let sets = config.parameter_sets().iter().filter(|_| is_key);
        for unit in sets.map(AsRef::as_ref).chain(units) {
            check_size(unit)?;
            self.annex_b.extend_from_slice(&[0, 0, 0, 1]);
            self.annex_b.extend_from_slice(unit);
        }
        Ok(())
    }
}

impl VideoDecoder for H264Decoder {
    fn decode(&mut self, data: &[u8]) -> Result<Option<Picture>, CodecError> {
        if data.len() > MAX_ENCODED_PICTURE {
            return Err(CodecError::FrameTooLong(data.len()));
        }
        self.fill_annex_b(data)?;
        let Some(decoded) = self.decoder.decode(&self.annex_b).map_err(undecodable)? else {
            return Ok(None);
        };
        let planes = [decoded.y(), decoded.u(), decoded.v()];
        Ok(Picture::from_strided(decoded.dimensions(), planes, decoded.strides()))
    }
}

/// Refuses a sequence parameter set that would make the library allocate too much.
fn check_size(unit: &[u8]) -> Result<(), CodecError> {
    if avc::kind_of(unit) != UnitKind::Sequence {
        return Ok(());
    }
    let SequenceShape { width, height, .. } = SequenceShape::parse(unit)?;
    let side = usize::from(MAX_PICTURE_SIDE);
    if width == 0 || height == 0 || width > side || height > side {
        return Err(CodecError::PictureSize(width, height, "each side must be 1 to 8192"));
    }
    Ok(())
}

/// The library's words for what is wrong with a frame.
fn undecodable(error: openh264::Error) -> CodecError {
    CodecError::H264Decode(error.to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meipo::media::{TrackKind, TrackSource};
    use meipo::units::TrackId;
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: VideoSettings = VideoSettings {
        width: 320,
        height: 240,
        millihertz: 30_000,
        bitrate: Bitrate::from_kilobits(300),
        max_bitrate: Bitrate::from_kilobits(1000),
        temporal_layers: 2,
    };

    #[test]
    fn every_picture_comes_back_and_looks_alike() {
        let frames = encode(SETTINGS, 12);
        let mut decoder = H264Decoder::new(&track(Bytes::new())).unwrap();
        for (number, frame) in frames.iter().enumerate() {
            let picture = decoder.decode(&frame.data).unwrap().expect("one in, one out");
            assert!(difference(&picture, &scene(number)) < 8.0, "picture {number}");
        }
    }

    #[test]
    fn only_the_first_picture_and_a_requested_one_are_key_frames() {
        let mut encoder = H264Encoder::new(&SETTINGS).unwrap();
        let mut keys = Vec::new();
        for number in 0..10 {
            if number == 6 {
                encoder.force_key();
            }
            if number == 3 {
                encoder.set_bitrate(Bitrate::from_kilobits(150)).unwrap();
            }
            let frame = encoder.encode(&scene(number), time(number)).unwrap();
            if frame.is_key {
                assert_eq!((frame.needs, frame.temporal_layer), (0, 0));
                keys.push(number);
            }
        }
        assert_eq!(keys, [0, 6]);
    }

    #[test]
    fn pictures_of_three_layers_name_what_they_need() {
        let frames = encode(VideoSettings { temporal_layers: 3, ..SETTINGS }, 9);
        let layers: Vec<_> = frames.iter().map(|frame| (frame.temporal_layer, frame.needs)).collect();
        assert_eq!(layers, [(0, 0), (2, 1), (1, 2), (2, 1), (0, 4), (2, 1), (1, 2), (2, 1), (0, 4)]);
    }

    #[test]
    fn the_upper_layers_can_be_left_out() {
        for layers in 1..=3 {
            let frames = encode(VideoSettings { temporal_layers: layers, ..SETTINGS }, 13);
            let mut decoder = H264Decoder::new(&track(Bytes::new())).unwrap();
            let kept = frames.iter().filter(|frame| frame.temporal_layer == 0);
            let pictures = kept.map(|frame| decoder.decode(&frame.data).unwrap()).collect::<Vec<_>>();
            assert!(pictures.iter().all(Option::is_some), "{layers} layers");
        }
    }

    #[test]
    fn a_lower_rate_makes_smaller_frames() {
        let mut encoder = H264Encoder::new(&SETTINGS).unwrap();
        let mut bytes = [0; 2];
        for number in 0..120 {
            if number == 60 {
                encoder.set_bitrate(Bitrate::from_kilobits(60)).unwrap();
            }
            let frame = encoder.encode(&scene(number), time(number)).unwrap();
            if number % 60 >= 20 {
                bytes[number / 60] += frame.data.len();
            }
        }
        assert!(bytes[1] * 2 < bytes[0], "{bytes:?}");
    }

    #[test]
    fn length_prefixed_frames_decode_with_their_configuration() {
        let frames = encode(SETTINGS, 4);
        let config = avc::config_from_key_frame(&frames[0].data).unwrap();
        let mut decoder = H264Decoder::new(&track(config)).unwrap();
        for frame in &frames {
            let stripped = without_parameter_sets(&frame.data);
            assert!(decoder.decode(&avc::to_length_prefixed(&stripped)).unwrap().is_some());
        }
    }

    #[test]
    fn the_codec_string_is_that_of_constrained_baseline() {
        let encoder = H264Encoder::new(&SETTINGS).unwrap();
        assert!(encoder.codec().starts_with("avc1.42"), "{}", encoder.codec());
    }

    #[test]
    fn odd_sizes_and_too_many_layers_are_refused() {
        assert!(H264Encoder::new(&VideoSettings { width: 321, ..SETTINGS }).is_err());
        assert!(H264Encoder::new(&VideoSettings { temporal_layers: 4, ..SETTINGS }).is_err());
        assert!(H264Encoder::new(&SETTINGS).unwrap().encode(&Picture::black(640, 480), time(0)).is_err());
    }

    #[test]
    fn a_giant_picture_is_refused_before_it_is_decoded() {
        // 32768×512, Baseline.
        let giant = [0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xf8, 0x00, 0x40, 0x00, 0x40, 0x08, 0x80];
        let mut decoder = H264Decoder::new(&track(Bytes::new())).unwrap();
        assert!(matches!(decoder.decode(&giant), Err(CodecError::PictureSize(32768, 512, _))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_frames_never_panic(places in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..20)) {
            let mut decoder = H264Decoder::new(&track(Bytes::new())).unwrap();
            for frame in encode(VideoSettings { width: 64, height: 64, ..SETTINGS }, 3) {
                let mut data = frame.data.to_vec();
                for (place, value) in &places {
                    let len = data.len();
                    data[place % len] = *value;
                }
                let _ = decoder.decode(&data);
            }
        }
    }

    fn encode(settings: VideoSettings, count: usize) -> Vec<EncodedPicture> {
        let mut encoder = H264Encoder::new(&settings).unwrap();
        let size = (settings.width, settings.height);
        (0..count).map(|number| encoder.encode(&scene_of(size, number), time(number)).unwrap()).collect()
    }

    fn scene(number: usize) -> Picture {
        scene_of((SETTINGS.width, SETTINGS.height), number)
    }

    /// A texture that moves four pixels a picture.
    fn scene_of((width, height): (u16, u16), number: usize) -> Picture {
        let mut picture = Picture::black(width, height);
        let stride = picture.width();
        for (index, pixel) in picture.planes_mut().y.iter_mut().enumerate() {
            let (x, y) = (index % stride + 4 * number, index / stride);
            *pixel = u8::try_from(40 + (x / 8 * 37 + y / 8 * 59) % 160).unwrap();
        }
        picture
    }

    fn difference(a: &Picture, b: &Picture) -> f64 {
        let sum: u64 = a.y().iter().zip(b.y()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.y().len() as f64
    }

    fn time(number: usize) -> CaptureTime {
        CaptureTime::from_micros(number as u64 * 33_333)
    }

    fn without_parameter_sets(annex_b: &[u8]) -> Vec<u8> {
        let units = avc::annex_b_units(annex_b)
            .filter(|unit| !matches!(avc::kind_of(unit), UnitKind::Sequence | UnitKind::Picture));
        units.flat_map(|unit| [&[0, 0, 0, 1], unit].concat()).collect()
    }

    fn track(description: Bytes) -> Track {
        Track {
            id: TrackId(0),
            kind: TrackKind::Video { width: 320, height: 240, millihertz: 30_000 },
            source: TrackSource::Camera,
            codec: "avc1.42e01f".to_owned(),
            description,
            epoch_unix_us: 0,
        }
    }
}
