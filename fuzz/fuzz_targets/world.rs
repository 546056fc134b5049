#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scp2p_sim::fuzz::world(data));
