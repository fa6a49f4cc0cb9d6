#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| routeapi_fuzz::event_stream(input));
