//! Changes of a sample.

use fastrand::Rng;

/// Inputs do not grow longer than this.
const MAX_LEN: usize = 1 << 16;
/// Longest input that is made of nothing.
const MAX_RANDOM: usize = 512;
/// Longest part that is taken out, doubled or put in.
const MAX_PART: usize = 256;
/// Values at which code tends to be wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0xfff,
    0x1000,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// The input of a seed: a sample, or now and then random bytes, with the first `changes` of its changes.
pub fn input(seed: u64, changes: usize, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut random = Rng::with_seed(seed);
    let mut input = match random.choice(samples) {
        Some(sample) if random.u8(..) >= 16 => sample.clone(),
        _ => {
            let len = random.usize(..MAX_RANDOM);
            bytes(&mut random, len)
        }
    };
    for _ in 0..changes {
        change(&mut random, &mut input, samples);
        input.truncate(MAX_LEN);
    }
    input
}

fn bytes(random: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

fn place(random: &mut Rng, input: &[u8]) -> usize {
    random.usize(..=input.len())
}

fn part(random: &mut Rng, input: &[u8]) -> Vec<u8> {
    let start = place(random, input);
    input.iter().skip(start).take(random.usize(..MAX_PART)).copied().collect()
}

fn insert(random: &mut Rng, input: &mut Vec<u8>, bytes: Vec<u8>) {
    let at = place(random, input);
    input.splice(at..at, bytes);
}

fn change(random: &mut Rng, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
    let at = place(random, input);
    match random.u8(..16) {
        0..=3 => {
            if let Some(place) = input.get_mut(at) {
                *place = random.u8(..);
            }
        }
        4..=6 => {
            if let Some(place) = input.get_mut(at) {
                *place ^= 1 << random.u8(..8);
            }
        }
        7..=10 => word(random, input, at),
        11 => {
            let len = random.usize(1..40);
            let bytes = bytes(random, len);
            insert(random, input, bytes);
        }
        12 => {
            let end = at.saturating_add(random.usize(1..MAX_PART)).min(input.len());
            input.drain(at..end);
        }
        13 => {
            let part = part(random, input);
            insert(random, input, part);
        }
        14 => input.truncate(at),
        _ => {
            let Some(sample) = random.choice(samples) else { return };
            let part = part(random, sample);
            insert(random, input, part);
        }
    }
}

/// A little-endian word of 1, 2, 4 or 8 bytes, which is aligned more often than not in what is fuzzed.
fn word(random: &mut Rng, input: &mut [u8], at: usize) {
    let size = 1_usize << random.u8(..4);
    let value = match random.u8(..3) {
        0 => random.u64(..),
        1 => random.u64(..64),
        _ => random.choice(EDGES).unwrap_or(0),
    };
    for (place, byte) in input.iter_mut().skip(at / size * size).zip(value.to_le_bytes()).take(size)
    {
        *place = byte;
    }
}
