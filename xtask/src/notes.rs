//! From the model's activations to notes that a person can read.

/// Keys of a piano, from A0.
pub(crate) const KEYS: usize = 88;
/// Samples from one frame of the answer to the next.
const HOP: usize = 256;
/// MIDI number of the lowest key.
const LOWEST: usize = 21;
/// How sure the model must be that a note starts in a frame, and that it sounds in one of the next ten.
const ONSET: f32 = 0.6;
const SOUNDING: f32 = 0.7;
const LOOK_AHEAD: usize = 10;
/// A note goes on while the model is at least this sure that it sounds.
const FADED: f32 = 0.4;

/// A note that was heard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) start_s: f64,
    /// When it fades.
    pub(crate) end_s: f64,
    pub(crate) key: usize,
    /// The largest of the activations that say it sounds.
    pub(crate) certainty: f32,
}

impl Note {
    /// As musicians write it: C4 is the middle C.
    pub(crate) fn name(&self) -> String {
        const NAMES: [&str; 12] = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
        let midi = self.key + LOWEST;
        format!("{}{}", NAMES[midi % 12], midi / 12 - 1)
    }
}

/// Notes in the order in which they start. Both activations are frames of [`KEYS`] values.
pub(crate) fn heard(onsets: &[f32], sounding: &[f32], rate_hz: u32) -> Vec<Note> {
    let frames = onsets.len().min(sounding.len()) / KEYS;
    let onset = |frame: usize, key: usize| onsets[frame * KEYS + key];
    let seconds = |frame: usize| (frame * HOP) as f64 / f64::from(rate_hz);
    let mut notes = Vec::new();
    for frame in 0..frames {
        for key in 0..KEYS {
            let here = onset(frame, key);
            let rises = frame == 0 || onset(frame - 1, key) <= here;
            let falls = frame + 1 == frames || onset(frame + 1, key) < here;
            let next = frame..frames.min(frame + LOOK_AHEAD);
            let sounds = |frame: usize| sounding[frame * KEYS + key];
            let certainty = next.clone().map(sounds).fold(0.0, f32::max);
            if here >= ONSET && rises && falls && certainty >= SOUNDING {
                let end = (next.end..frames).find(|&frame| sounds(frame) < FADED).unwrap_or(frames);
                notes.push(Note { start_s: seconds(frame), end_s: seconds(end), key, certainty });
            }
        }
    }
    notes
}

/// Notes that start within 50 ms of each other, as one line each: `1.20 s  E4 + G4 + C5`.
pub(crate) fn lines(notes: &[Note]) -> Vec<String> {
    let mut chords: Vec<Vec<&Note>> = Vec::new();
    for note in notes {
        match chords.last_mut() {
            Some(chord) if note.start_s - chord[0].start_s < 0.05 => chord.push(note),
            _ => chords.push(vec![note]),
        }
    }
    let line = |mut chord: Vec<&Note>| {
        chord.sort_by_key(|note| note.key);
        let names = chord.iter().map(|note| format!("{} ({:.0} %)", note.name(), note.certainty * 100.0));
        format!("{:.1} s  {}", chord[0].start_s, names.collect::<Vec<_>>().join(" + "))
    };
    chords.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_heard_once_where_its_onset_peaks() {
        let (mut onsets, mut sounding) = (vec![0.0; KEYS * 12], vec![0.0; KEYS * 12]);
        for (frame, value) in [(3, 0.5), (4, 0.9), (5, 0.65)] {
            onsets[frame * KEYS + 39] = value;
            sounding[(frame + 2) * KEYS + 39] = 0.8;
        }
        let notes = heard(&onsets, &sounding, 22050);
        assert_eq!(notes.len(), 1);
        assert_eq!((notes[0].name().as_str(), notes[0].certainty), ("C4", 0.8));
        assert_eq!(lines(&notes), ["0.0 s  C4 (80 %)"]);
    }

    #[test]
    fn notes_that_start_together_share_a_line() {
        let note = |start_s, key| Note { start_s, end_s: 2.0, key, certainty: 0.9 };
        let lines = lines(&[note(0.0, 39), note(1.2, 51), note(1.21, 43)]);
        assert_eq!(lines, ["0.0 s  C4 (90 %)", "1.2 s  E4 (90 %) + C5 (90 %)"]);
    }

    #[test]
    fn an_onset_that_does_not_sound_is_no_note() {
        let mut onsets = vec![0.0; KEYS * 4];
        onsets[KEYS + 10] = 0.9;
        assert!(heard(&onsets, &vec![0.1; KEYS * 4], 22050).is_empty());
    }
}
