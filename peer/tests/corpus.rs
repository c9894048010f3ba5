//! Every input kept for the fuzzer goes through the decoder it is for.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/peer.rs"]
#[expect(unreachable_pub, reason = "public for the programs of the fuzzer")]
mod targets;

#[test]
fn kept_inputs_harm_no_decoder() {
    for (name, target) in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "{} holds nothing", folder.display());
        for input in inputs {
            println!("{}", input.display());
            target(&fs::read(input).unwrap());
        }
    }
}
