//! The fuzz target of signatures over its corpus, and over what a little damage makes of it.

use crate::support::dice::Dice;

#[path = "../../../fuzz/bodies/signatures.rs"]
mod body;

fn corpus() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/signatures");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_fuzz_corpus_passes() {
    let corpus = corpus();
    assert!(corpus.len() > 5);
    for input in &corpus {
        body::run(input);
    }
}

#[test]
fn damaged_inputs_do_no_harm() {
    let corpus = corpus();
    let mut dice = Dice::new(21);
    for _ in 0..20_000 {
        let mut input = dice.one_of(&corpus).clone();
        for _ in 0..=dice.below(3) {
            let at = usize::try_from(dice.below(input.len() as u64)).unwrap();
            input[at] = u8::try_from(dice.below(256)).unwrap();
        }
        body::run(&input);
    }
}
