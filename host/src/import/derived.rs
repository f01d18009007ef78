//! Large constants that preparing a model computed: weights with a normalisation folded in, tables, transposed matrices.
//!
//! Once they are packed nobody needs them, and they are as large as the model. So the graph refers to them as it does to weights, they are let go
//! when the first plans are loaded, and who wants one again after that has the model prepared again, which gives the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use sunmao_graph::{Content, DType, Graph, Role, Weight};

/// The number that stands for these constants where others have that of a source.
pub(super) const DERIVED: u32 = u32::MAX;
/// Smaller ones stay in the graph: inference follows them.
const LARGE_BYTES: usize = 8 << 10;

/// Computes all of them again, in the same order.
type Remake = Box<dyn Fn() -> Result<Vec<Arc<[u8]>>, String> + Send + Sync>;

/// The large computed constants of a model.
#[derive(Default)]
pub(crate) struct Derived {
    /// Where each begins, counted over all of them, and where the last one ends.
    starts: Vec<u64>,
    /// What is held of them.
    held: Mutex<Vec<Option<Arc<[u8]>>>>,
    remake: Option<Remake>,
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("starts", &self.starts).finish_non_exhaustive()
    }
}

impl Derived {
    /// Constants of those lengths, held or not. Without `remake` they are never let go.
    pub(crate) fn new(lengths: &[u64], held: Option<Vec<Arc<[u8]>>>, remake: Option<Remake>) -> Self {
        let mut starts = vec![0];
        for length in lengths {
            starts.push(starts.last().copied().unwrap_or(0) + length);
        }
        let held = held.map_or_else(|| vec![None; lengths.len()], |list| list.into_iter().map(Some).collect());
        Self { starts, held: Mutex::new(held), remake }
    }

    /// One of them.
    pub(super) fn get(&self, weight: &Weight) -> Result<Arc<[u8]>, String> {
        const UNKNOWN: &str = "no computed constant of that place and length";
        let number = self.number(weight).ok_or(UNKNOWN)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held[number].is_none() {
            *held = self.made_again()?.into_iter().map(Some).collect();
        }
        held[number].clone().ok_or_else(|| UNKNOWN.into())
    }

    fn number(&self, weight: &Weight) -> Option<usize> {
        let number = self.starts.binary_search(&weight.offset).ok()?;
        (self.starts.get(number + 1)? - weight.offset == weight.length).then_some(number)
    }

    /// Lets go of one, if it can be computed again.
    pub(super) fn forget(&self, weight: &Weight) {
        if let Some(number) = self.number(weight).filter(|_| self.remake.is_some()) {
            self.held.lock().unwrap_or_else(PoisonError::into_inner)[number] = None;
        }
    }

    /// Lets go of all, if they can be computed again.
    pub(super) fn release(&self) {
        if self.remake.is_some() {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).fill(None);
        }
    }

    fn made_again(&self) -> Result<Vec<Arc<[u8]>>, String> {
        let remake = self.remake.as_ref().ok_or("the constants were let go")?;
        let list = remake()?;
        let same = list.len() + 1 == self.starts.len()
            && list.iter().zip(self.starts.windows(2)).all(|(bytes, ends)| bytes.len() as u64 == ends[1] - ends[0]);
        if !same {
            return Err("preparing the model again gave other constants than the first time".into());
        }
        tracing::debug!(constants = list.len(), "computed constants were needed again");
        Ok(list)
    }
}

/// Takes the large constants that a prepared graph holds out of it, and leaves references in their place.
pub(crate) fn take_large(graph: &mut Graph) -> Vec<Arc<[u8]>> {
    let mut taken = Taken { list: Vec::new(), weights: HashMap::new(), end: 0 };
    taken.take(graph);
    taken.list
}

struct Taken {
    list: Vec<Arc<[u8]>>,
    /// By address: one constant may stand under several shapes.
    weights: HashMap<*const u8, Weight>,
    end: u64,
}

impl Taken {
    fn take(&mut self, graph: &mut Graph) {
        for value in &mut graph.values {
            // Who reads a weight needs its type and shape.
            let known = value.dtype.is_some_and(|dtype| dtype != DType::String) && value.concrete().is_some();
            let Role::Constant(content) = &mut value.role else { continue };
            let Content::Bytes(bytes) = &*content else { continue };
            if !known || bytes.len() <= LARGE_BYTES {
                continue;
            }
            let weight = self.weights.entry(bytes.as_ptr()).or_insert_with(|| {
                let (offset, length) = (self.end, bytes.len() as u64);
                self.list.push(bytes.clone());
                self.end += length;
                Weight { source: DERIVED, offset, length, encoding: "raw-le".into() }
            });
            *content = Content::Weight(weight.clone());
        }
        for node in &mut graph.nodes {
            node.blocks_mut().for_each(|block| self.take(block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use sunmao_graph::{Dim, Value};

    fn constant(graph: &mut Graph, bytes: Arc<[u8]>) {
        let shape = Some(vec![Dim::Known(bytes.len() as u64)]);
        let role = Role::Constant(Content::Bytes(bytes));
        let name = format!("c{}", graph.values.len());
        graph.add_value(Value { dtype: Some(DType::U8), shape, role, ..Value::computed(name) });
    }

    #[test]
    fn large_constants_leave_the_graph_and_come_back_by_reference() {
        let (large, other): (Arc<[u8]>, Arc<[u8]>) = (vec![1; LARGE_BYTES + 1].into(), vec![2; LARGE_BYTES + 9].into());
        let mut graph = Graph::default();
        for bytes in [large.clone(), vec![0; LARGE_BYTES].into(), other.clone(), large.clone()] {
            constant(&mut graph, bytes);
        }
        let list = take_large(&mut graph);
        assert_eq!(list, [large.clone(), other.clone()]);
        assert!(graph.values[1].bytes().is_some(), "small ones stay");
        let weight = |index: usize| match &graph.values[index].role {
            Role::Constant(Content::Weight(weight)) => weight.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(weight(0), weight(3), "one content, one reference");

        let made = Arc::new(AtomicU32::new(0));
        let (again, count) = (list.clone(), made.clone());
        let remake: Remake = Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(again.clone())
        });
        let lengths: Vec<u64> = list.iter().map(|bytes| bytes.len() as u64).collect();
        let derived = Derived::new(&lengths, Some(list), Some(remake));
        assert_eq!(derived.get(&weight(2)).unwrap(), other);
        assert_eq!(made.load(Ordering::Relaxed), 0);
        derived.release();
        assert_eq!(derived.get(&weight(0)).unwrap(), large);
        assert_eq!(derived.get(&weight(2)).unwrap(), other);
        assert_eq!(made.load(Ordering::Relaxed), 1);
        derived.forget(&weight(0));
        assert_eq!(derived.get(&weight(2)).unwrap(), other);
        assert_eq!(made.load(Ordering::Relaxed), 1, "one that is forgotten is no other's loss");
        assert_eq!(derived.get(&weight(0)).unwrap(), large);
        assert_eq!(made.load(Ordering::Relaxed), 2);
        let wrong = Weight { offset: 5, ..weight(0) };
        assert!(derived.get(&wrong).is_err() && derived.get(&Weight { length: 1, ..weight(0) }).is_err());
    }

    #[test]
    fn another_result_the_second_time_is_an_error_and_nothing_is_lost_without_a_way_back() {
        let list: Vec<Arc<[u8]>> = vec![vec![1; 8].into()];
        let weight = Weight { source: DERIVED, offset: 0, length: 8, encoding: "raw-le".into() };
        let derived = Derived::new(&[8], Some(list), Some(Box::new(|| Ok(vec![vec![1; 9].into()]))));
        derived.release();
        assert!(derived.get(&weight).unwrap_err().contains("other constants"));
        let kept = Derived::new(&[8], Some(vec![vec![1; 8].into()]), None);
        kept.release();
        assert_eq!(*kept.get(&weight).unwrap(), [1; 8]);
    }
}
