#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meipo_fuzz::wire::chunk(data));
