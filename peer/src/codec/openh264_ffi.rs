//! The H.264 library's table of functions behind safe methods. The only file with `unsafe`.
//!
//! The one rule: a `RawEncoder` holds a library encoder that was initialised and not yet destroyed, and nobody else
//! holds it.
#![expect(unsafe_code, reason = "the library's encoder is a C table of function pointers")]

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use bytes::BytesMut;
use openh264_sys2::{
    API, DynamicAPI, ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_DATAFORMAT, ENCODER_OPTION_TRACE_LEVEL,
    ISVCEncoder, ISVCEncoderVtbl, SBitrateInfo, SEncParamExt, SFrameBSInfo, SPATIAL_LAYER_ALL, SSourcePicture,
    WELS_LOG_QUIET, videoFormatI420, videoFrameTypeIDR,
};

use super::{CodecError, Picture};

/// What the library said of one encoded picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawPicture {
    pub(super) is_key: bool,
    pub(super) temporal_layer: u8,
}

/// One encoder of the library.
pub(super) struct RawEncoder {
    encoder: NonNull<ISVCEncoder>,
    width: c_int,
    height: c_int,
}

// SAFETY: the library keeps no thread-local state in an encoder, and every method that touches it takes `&mut self`.
unsafe impl Send for RawEncoder {}

impl std::fmt::Debug for RawEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawEncoder").field("width", &self.width).field("height", &self.height).finish_non_exhaustive()
    }
}

impl RawEncoder {
    /// Makes an encoder; `adjust` gets the library's defaults and changes what it wants otherwise.
    pub(super) fn new(adjust: impl FnOnce(&mut SEncParamExt)) -> Result<Self, CodecError> {
        let mut created: *mut ISVCEncoder = ptr::null_mut();
        // SAFETY: the library writes one pointer to the place it is given.
        let code = unsafe { DynamicAPI::from_source().WelsCreateSVCEncoder(&raw mut created) };
        let encoder = NonNull::new(created).ok_or(failed("creation", code))?;
        let mut raw = RawEncoder { encoder, width: 0, height: 0 };
        raw.set_option(ENCODER_OPTION_TRACE_LEVEL, &mut WELS_LOG_QUIET.clone())?;
        let mut params = SEncParamExt::default();
        let defaults = raw.table().GetDefaultParams.ok_or(failed("set-up", 0))?;
        // SAFETY: the encoder lives, and the library fills in the struct it is given.
        check("set-up", unsafe { defaults(encoder.as_ptr(), &raw mut params) })?;
        adjust(&mut params);
        let initialize = raw.table().InitializeExt.ok_or(failed("set-up", 0))?;
        // SAFETY: the encoder lives, and the library copies the struct it is given.
        check("set-up", unsafe { initialize(encoder.as_ptr(), &raw const params) })?;
        (raw.width, raw.height) = (params.iPicWidth, params.iPicHeight);
        raw.set_option(ENCODER_OPTION_DATAFORMAT, &mut videoFormatI420.clone())?;
        Ok(raw)
    }

    /// Encodes `picture`, which must have the encoder's size, and appends the bytes to `out`.
    pub(super) fn encode(
        &mut self,
        picture: &Picture,
        millis: i64,
        out: &mut BytesMut,
    ) -> Result<RawPicture, CodecError> {
        let (width, height) = (picture.width(), picture.height());
        if c_int::try_from(width) != Ok(self.width) || c_int::try_from(height) != Ok(self.height) {
            return Err(CodecError::PictureSize(width, height, "the encoder was made for another size"));
        }
        let stride = self.width / 2;
        let source = SSourcePicture {
            iColorFormat: videoFormatI420,
            iStride: [self.width, stride, stride, 0],
            pData: [
                picture.y().as_ptr().cast_mut(),
                picture.u().as_ptr().cast_mut(),
                picture.v().as_ptr().cast_mut(),
                ptr::null_mut(),
            ],
            iPicWidth: self.width,
            iPicHeight: self.height,
            uiTimeStamp: millis,
            ..SSourcePicture::default()
        };
        let mut info = SFrameBSInfo::default();
        let encode = self.table().EncodeFrame.ok_or(failed("encoding", 0))?;
        // SAFETY: the encoder lives; the planes of an even-sized `Picture` are as long as width, height and strides
        // say, and the library only reads them.
        let code = unsafe { encode(self.encoder.as_ptr(), &raw const source, &raw mut info) };
        check("encoding", code)?;
        // SAFETY: `info` was filled by the library in the call above, and the encoder has not been touched since.
        let temporal_layer = unsafe { append_layers(&info, out) };
        Ok(RawPicture { is_key: info.eFrameType == videoFrameTypeIDR, temporal_layer })
    }

    /// The parameter sets that the next key frame will begin with.
    pub(super) fn parameter_sets(&mut self) -> Result<BytesMut, CodecError> {
        let mut info = SFrameBSInfo::default();
        let encode = self.table().EncodeParameterSets.ok_or(failed("set-up", 0))?;
        // SAFETY: the encoder lives, and the library fills in the struct it is given.
        check("set-up", unsafe { encode(self.encoder.as_ptr(), &raw mut info) })?;
        let mut out = BytesMut::new();
        // SAFETY: `info` was filled by the library in the call above, and the encoder has not been touched since.
        unsafe { append_layers(&info, &mut out) };
        Ok(out)
    }

    /// Makes the next picture a key frame.
    pub(super) fn force_key(&mut self) {
        if let Some(force) = self.table().ForceIntraFrame {
            // SAFETY: the encoder lives. The call fails only on an encoder that was not initialised.
            unsafe { force(self.encoder.as_ptr(), true) };
        }
    }

    /// Sets the rate aimed at, in bits per second.
    pub(super) fn set_bitrate(&mut self, bits: c_int) -> Result<(), CodecError> {
        let mut info = SBitrateInfo { iLayer: SPATIAL_LAYER_ALL, iBitrate: bits };
        self.set_option(ENCODER_OPTION_BITRATE, &mut info)
    }

    /// Sets an option whose value has the type `T`, as the library's header lists it.
    fn set_option<T>(&mut self, option: ENCODER_OPTION, value: &mut T) -> Result<(), CodecError> {
        let set = self.table().SetOption.ok_or(failed("an option", 0))?;
        // SAFETY: the encoder lives; the callers above pass the type that belongs to the option, which is only read.
        let code = unsafe { set(self.encoder.as_ptr(), option, ptr::from_mut(value).cast::<c_void>()) };
        check("an option", code)
    }

    /// The functions of this encoder.
    fn table(&self) -> ISVCEncoderVtbl {
        // SAFETY: a live encoder begins with a pointer to its table, which is static.
        unsafe { **self.encoder.as_ptr() }
    }
}

impl Drop for RawEncoder {
    fn drop(&mut self) {
        if let Some(uninitialize) = self.table().Uninitialize {
            // SAFETY: the encoder lives; the library accepts this on one that was never initialised.
            unsafe { uninitialize(self.encoder.as_ptr()) };
        }
        // SAFETY: the encoder lives and is not used again.
        unsafe { DynamicAPI::from_source().WelsDestroySVCEncoder(self.encoder.as_ptr()) };
    }
}

/// Appends the bytes of all layers and gives the highest temporal layer among them.
///
/// # Safety
/// `info` must have been filled by the library, and its encoder not touched since.
unsafe fn append_layers(info: &SFrameBSInfo, out: &mut BytesMut) -> u8 {
    let mut temporal_layer = 0;
    let count = usize::try_from(info.iLayerNum).unwrap_or(0);
    for layer in info.sLayerInfo.iter().take(count) {
        let units = usize::try_from(layer.iNalCount).unwrap_or(0);
        if layer.pNalLengthInByte.is_null() || layer.pBsBuf.is_null() {
            continue;
        }
        // SAFETY: the library keeps `iNalCount` lengths here until its next call.
        let lengths = unsafe { std::slice::from_raw_parts(layer.pNalLengthInByte, units) };
        let total = lengths.iter().filter_map(|len| usize::try_from(*len).ok()).sum();
        // SAFETY: the units lie one after the other in `pBsBuf` until the library's next call.
        out.extend_from_slice(unsafe { std::slice::from_raw_parts(layer.pBsBuf, total) });
        temporal_layer = temporal_layer.max(layer.uiTemporalId);
    }
    temporal_layer
}

/// The error of a call that did not return 0.
fn check(action: &'static str, code: c_int) -> Result<(), CodecError> {
    if code == 0 { Ok(()) } else { Err(failed(action, code)) }
}

/// A failed call.
fn failed(action: &'static str, code: c_int) -> CodecError {
    CodecError::H264 { action, code: i64::from(code) }
}
