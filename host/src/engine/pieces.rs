//! Who runs which pieces of a dispatch, and when all are done.
//!
//! A round is one dispatch, or several that one thread runs in a row, and its pieces are dealt out beforehand: neighbouring pieces to one thread, the
//! same to the same thread in every round, so that what a thread wrote is still in its cache when it reads it. A thread that is done looks for pieces
//! that others have not begun and takes them from the far end. So nobody waits for a thread that the system has put aside or has not woken yet, other
//! than for the piece that it is in the middle of; and a round ends when all its pieces are done, whoever did them.
//!
//! A round can be given up: a piece that fails never leaves the others waiting.

use super::EngineError;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Looks at the others' counts before a waiting thread looks for pieces that it could take: some microseconds, so that a thread which is merely a
/// little later finds its own pieces, and the counter of them in its own cache.
const PATIENCE: u32 = 512;
/// Looks before a waiting thread offers its core to others.
const SPINS: u32 = 20_000;

/// On a cache line of its own, and the neighbour that is fetched with it: unpadded words double the cost.
#[repr(align(128))]
#[derive(Default)]
struct Padded<T>(T);

/// What one thread shares with the others.
#[derive(Default)]
struct Lane {
    /// Which of the thread's pieces are taken: see [`Taken`]. Written by whoever takes one.
    taken: Padded<AtomicU64>,
    /// How many pieces the thread has done, in all rounds. Written by the thread alone.
    done: Padded<AtomicU32>,
}

/// The word of [`Lane::taken`]: the round that it is about (0: none yet), and how many pieces were taken in it from either end.
#[derive(Clone, Copy)]
struct Taken {
    round: u32,
    front: u16,
    back: u16,
}

/// One round, as every thread sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Its number, from 1.
    pub(super) number: u32,
    /// How many pieces it has.
    pub(super) pieces: u32,
    /// How many pieces it and all rounds before it have.
    pub(super) end: u32,
}

/// The pieces of a run of a fixed number of threads.
pub(super) struct Pieces {
    lanes: Vec<Lane>,
    aborted: AtomicBool,
}

impl Taken {
    fn of(word: u64) -> Self {
        Self { round: (word >> 32) as u32, front: (word >> 16) as u16, back: word as u16 }
    }

    fn word(self) -> u64 {
        u64::from(self.round) << 32 | u64::from(self.front) << 16 | u64::from(self.back)
    }
}

impl Pieces {
    pub(super) fn new(threads: usize) -> Self {
        Self { lanes: (0..threads).map(|_| Lane::default()).collect(), aborted: AtomicBool::new(false) }
    }

    /// Runs pieces of `round` until all of them are done. Threads call this for the same rounds in the same order; one that comes when a round is over
    /// finds nothing to do, and one that never comes is not missed.
    pub(super) fn run(
        &self,
        thread: usize,
        round: Round,
        mut work: impl FnMut(u32) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let lane = &self.lanes[thread];
        let before = lane.done.0.load(Ordering::Relaxed);
        let mut done = before;
        while let Some(piece) = self.take(thread, round, false) {
            work(piece)?;
            done += 1;
        }
        if done != before {
            lane.done.0.store(done, Ordering::Release);
        }
        let mut looks = 0;
        while self.done() < round.end {
            if self.aborted.load(Ordering::Relaxed) {
                return Err(EngineError::Aborted);
            }
            looks += 1;
            if looks % PATIENCE == 0 {
                let others = (1..self.lanes.len()).map(|step| (thread + step) % self.lanes.len());
                if let Some(piece) = others.into_iter().find_map(|other| self.take(other, round, true)) {
                    work(piece)?;
                    done += 1;
                    lane.done.0.store(done, Ordering::Release);
                    continue;
                }
            }
            if looks < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Sends everybody home.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }

    /// How many pieces all threads have done. What they wrote is seen by whoever has counted them.
    fn done(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.done.0.load(Ordering::Acquire)).sum()
    }

    /// Takes one of the pieces that were dealt to `owner`.
    fn take(&self, owner: usize, round: Round, from_back: bool) -> Option<u32> {
        let own = self.dealt(owner, round.pieces);
        let word = &self.lanes[owner].taken.0;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let mut taken = Taken::of(seen);
            if taken.round > round.number {
                // This thread is late: the round is over.
                return None;
            }
            if taken.round < round.number {
                taken = Taken { round: round.number, front: 0, back: 0 };
            }
            if u32::from(taken.front) + u32::from(taken.back) >= own.len() as u32 {
                return None;
            }
            let piece = if from_back {
                taken.back += 1;
                own.end - u32::from(taken.back)
            } else {
                taken.front += 1;
                own.start + u32::from(taken.front) - 1
            };
            // The order of memory is of no matter: pieces of a round touch nothing in common, and rounds are kept apart by the counts.
            match word.compare_exchange_weak(seen, taken.word(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(piece),
                Err(now) => seen = now,
            }
        }
    }

    /// Which pieces are dealt to a thread; a single one is the first thread's.
    fn dealt(&self, owner: usize, pieces: u32) -> Range<u32> {
        let cut = |thread: usize| (pieces as usize * thread).div_ceil(self.lanes.len()) as u32;
        cut(owner)..cut(owner + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Rounds of so many pieces each.
    fn rounds(pieces: &[u32]) -> Vec<Round> {
        let mut end = 0;
        let round = |(number, &pieces): (u32, &u32)| {
            end += pieces;
            Round { number, pieces, end }
        };
        (1..).zip(pieces).map(round).collect()
    }

    #[test]
    fn every_piece_is_run_once_and_rounds_do_not_overlap() {
        let (pieces, rounds) = (Pieces::new(3), rounds(&[1, 7, 3, 64, 2].repeat(40)));
        let done: Vec<Mutex<Vec<u32>>> = rounds.iter().map(|_| Mutex::default()).collect();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (pieces, rounds, done) = (&pieces, &rounds, &done);
                scope.spawn(move || {
                    for (index, &round) in rounds.iter().enumerate() {
                        let work = |piece| {
                            let earlier = index.checked_sub(1).map(|before| done[before].lock().unwrap().len() as u32);
                            assert_eq!(earlier, index.checked_sub(1).map(|before| rounds[before].pieces));
                            done[index].lock().unwrap().push(piece);
                            Ok(())
                        };
                        pieces.run(thread, round, work).unwrap();
                    }
                });
            }
        });
        for (round, done) in rounds.iter().zip(done) {
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..round.pieces).collect::<Vec<_>>());
        }
    }

    #[test]
    fn neighbouring_pieces_are_dealt_to_one_thread() {
        let dealt = |threads: usize, count| {
            let pieces = Pieces::new(threads);
            (0..threads).map(|thread| pieces.dealt(thread, count)).collect::<Vec<_>>()
        };
        assert_eq!(dealt(2, 8), [0..4, 4..8]);
        assert_eq!(dealt(3, 7), [0..3, 3..5, 5..7]);
        assert_eq!(dealt(4, 1), [0..1, 1..1, 1..1, 1..1]);
    }

    #[test]
    fn who_never_comes_is_not_missed_and_who_comes_late_finds_nothing() {
        let (pieces, rounds) = (Pieces::new(2), rounds(&[4, 2, 1]));
        let mut order = Vec::new();
        for &round in &rounds {
            let work = |piece| {
                order.push(piece);
                Ok(())
            };
            pieces.run(0, round, work).unwrap();
        }
        // Its own from the front, the other's from the far end.
        assert_eq!(order, [0, 1, 3, 2, 0, 1, 0]);
        for &round in &rounds {
            pieces.run(1, round, |piece| panic!("piece {piece} again")).unwrap();
        }
    }

    #[test]
    fn a_failure_releases_those_who_wait() {
        let (pieces, round) = (Pieces::new(2), rounds(&[2])[0]);
        std::thread::scope(|scope| {
            let failing = scope.spawn(|| {
                let failed = pieces.run(1, round, |_| Err(EngineError::Panic));
                pieces.abort();
                failed
            });
            let waiting = pieces.run(0, round, |_| Ok(()));
            let failed = failing.join().unwrap();
            // Either may have taken the other's piece before it came.
            assert!(failed.is_err() && waiting.is_err() || waiting.is_ok() && failed.is_ok(), "{waiting:?} {failed:?}");
        });
    }
}
