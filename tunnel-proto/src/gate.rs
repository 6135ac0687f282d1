//! Whose turn it is to send: classes by weight, the members of a class in turns of equal bytes.
//!
//! Deficit round robin (Shreedhar and Varghese, 1996), twice. Between classes: in every round each
//! may send its weight, and of those that still may, the highest goes first; so a keystroke waits
//! for the quantum that is being sent and for no more, and bulk never starves. Within a class:
//! every member sends one [`QUANTUM`], then the next. What is sent can be cut at any byte, so that
//! no member carries a deficit on. Who waits alone sends whole messages.

use crate::{
    link,
    mux::{HEADER, MAX_DATA},
    stream::Class,
};
use std::collections::VecDeque;

/// Bytes that a member sends before the next of its class has its turn. Four frames of them are a
/// full message.
pub const QUANTUM: usize = link::FULL / 4 - HEADER;

/// Bytes that each class may send in a round while all have something to send: control,
/// interactive, watch, bulk.
const WEIGHTS: [usize; Class::ALL.len()] = [4 * QUANTUM, 4 * QUANTUM, 2 * QUANTUM, QUANTUM];

/// Members that have something to send, in order.
#[derive(Debug)]
pub struct Gate<K> {
    classes: [Queue<K>; Class::ALL.len()],
}

#[derive(Debug)]
struct Queue<K> {
    members: VecDeque<K>,
    /// What the class may still send in this round.
    allowance: usize,
    /// What its first member may still send in its turn.
    turn: usize,
}

/// A member that may send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn<K> {
    /// Who.
    pub member: K,
    /// The class it waits in.
    pub class: Class,
    /// At most so many bytes; at least one.
    pub bytes: usize,
}

impl<K: Copy> Gate<K> {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            classes: WEIGHTS.map(|allowance| Queue {
                members: VecDeque::new(),
                allowance,
                turn: QUANTUM,
            }),
        }
    }

    /// Puts a member that is not in the gate behind the others of its class.
    pub fn join(&mut self, member: K, class: Class) {
        self.classes[class.index()].members.push_back(member);
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.iter().map(|queue| queue.members.len()).sum()
    }

    /// Takes out all members that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        for queue in &mut self.classes {
            let first_goes = queue.members.front().is_some_and(|first| !keep(first));
            queue.members.retain(&keep);
            if first_goes {
                queue.turn = QUANTUM;
            }
        }
    }

    /// Who may send next. The answer stays the same until [`Gate::sent`] or [`Gate::leave`].
    pub fn turn(&mut self) -> Option<Turn<K>> {
        let alone = match self.len() {
            0 => return None,
            len => len == 1,
        };
        let waits = |queue: &Queue<K>| !queue.members.is_empty() && queue.allowance > 0;
        if !self.classes.iter().any(waits) {
            for (queue, weight) in self.classes.iter_mut().zip(WEIGHTS) {
                queue.allowance = weight;
            }
        }
        let (class, queue) = Class::ALL
            .into_iter()
            .zip(&self.classes)
            .find(|(_, queue)| waits(queue))?;
        Some(Turn {
            member: *queue.members.front()?,
            class,
            bytes: match alone {
                true => MAX_DATA,
                false => queue.turn.min(queue.allowance),
            },
        })
    }

    /// The member of `turn` has sent so many bytes, and has more. Its turn ends with its quantum.
    pub fn sent(&mut self, turn: Turn<K>, bytes: usize) {
        let queue = &mut self.classes[turn.class.index()];
        queue.allowance = queue.allowance.saturating_sub(bytes);
        queue.turn = queue.turn.saturating_sub(bytes);
        if queue.turn == 0 {
            queue.turn = QUANTUM;
            queue.members.rotate_left(1);
        }
    }

    /// The member of `turn` has sent so many bytes, and waits no more.
    pub fn leave(&mut self, turn: Turn<K>, bytes: usize) {
        let queue = &mut self.classes[turn.class.index()];
        queue.allowance = queue.allowance.saturating_sub(bytes);
        queue.turn = QUANTUM;
        queue.members.pop_front();
        if queue.members.is_empty() {
            queue.members.shrink_to(8);
        }
    }
}

impl<K: Copy> Default for Gate<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends from members that always have more, `rounds` times at most `piece` bytes.
    fn run(members: &[(usize, Class)], rounds: usize, piece: usize) -> Vec<usize> {
        let mut gate = Gate::new();
        for (member, class) in members {
            gate.join(*member, *class);
        }
        let mut sent = vec![0; members.len()];
        for _ in 0..rounds {
            let turn = gate.turn().unwrap();
            let bytes = turn.bytes.min(piece);
            sent[turn.member] += bytes;
            gate.sent(turn, bytes);
        }
        sent
    }

    #[test]
    fn classes_share_by_weight_when_all_have_something_to_send() {
        let members: Vec<_> = Class::ALL.into_iter().enumerate().collect();
        let sent = run(&members, 11 * 1_000, QUANTUM);
        for (sent, weight) in sent.iter().zip(WEIGHTS) {
            assert_eq!(*sent, weight * 1_000);
        }
    }

    #[test]
    fn a_higher_class_that_comes_waits_for_one_turn() {
        let mut gate = Gate::new();
        for bulk in 0..100 {
            gate.join(bulk, Class::Bulk);
        }
        let turn = gate.turn().unwrap();
        gate.join(1_000, Class::Interactive);
        gate.sent(turn, turn.bytes);
        assert_eq!(gate.turn().unwrap().member, 1_000);
    }

    #[test]
    fn who_leaves_is_asked_no_more() {
        let mut gate = Gate::new();
        gate.join(1, Class::Watch);
        gate.join(2, Class::Watch);
        let turn = gate.turn().unwrap();
        assert_eq!(turn.bytes, QUANTUM);
        gate.leave(turn, 5);
        let turn = gate.turn().unwrap();
        assert_eq!((turn.member, turn.bytes), (2, MAX_DATA));
        gate.leave(turn, 0);
        assert!(gate.is_empty() && gate.turn().is_none());
    }

    #[test]
    fn who_is_taken_out_is_asked_no_more_and_leaves_the_next_a_whole_turn() {
        let mut gate = Gate::new();
        for member in 0..4 {
            gate.join(member, Class::Watch);
        }
        gate.join(4, Class::Bulk);
        let turn = gate.turn().unwrap();
        gate.sent(turn, QUANTUM - 1);
        gate.retain(|member| *member == 2 || *member == 4);
        assert_eq!(gate.len(), 2);
        let turn = gate.turn().unwrap();
        assert_eq!((turn.member, turn.bytes), (2, QUANTUM));
        gate.leave(turn, QUANTUM);
        assert_eq!(gate.turn().unwrap().member, 4);
    }

    fn any_class() -> impl Strategy<Value = Class> {
        prop::sample::select(Class::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn members_of_a_class_differ_by_a_quantum_at_most(
            class in any_class(), members in 1..40_usize, rounds in 1..2_000_usize, piece in 1..2 * QUANTUM,
        ) {
            let all: Vec<_> = (0..members).map(|member| (member, class)).collect();
            let sent = run(&all, rounds, piece);
            let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
            prop_assert!(most - least <= QUANTUM, "{sent:?}");
        }

        #[test]
        fn nobody_starves(
            classes in prop::collection::vec(any_class(), 1..40), piece in 1..2 * QUANTUM,
        ) {
            let members: Vec<_> = classes.into_iter().enumerate().collect();
            // Everybody has had a turn when each class has had as many rounds as it has members,
            // each of which takes so many pieces at most.
            let pieces = |bytes: usize| bytes.div_ceil(piece.min(QUANTUM)) + 1;
            let round: usize = WEIGHTS.iter().map(|weight| pieces(*weight) + weight / QUANTUM).sum();
            let sent = run(&members, members.len() * round + round, piece);
            prop_assert!(sent.iter().all(|bytes| *bytes > 0), "{sent:?}");
        }

        #[test]
        fn turns_are_never_empty(
            steps in prop::collection::vec((any_class(), 0..2 * QUANTUM, any::<bool>()), 1..300),
        ) {
            let mut gate = Gate::new();
            let mut inside = 0_usize;
            for (index, (class, bytes, leaves)) in steps.into_iter().enumerate() {
                if index % 3 == 0 {
                    gate.join(index, class);
                    inside += 1;
                }
                let Some(turn) = gate.turn() else {
                    prop_assert_eq!(inside, 0);
                    continue;
                };
                let most = if inside == 1 { MAX_DATA } else { QUANTUM };
                prop_assert!(turn.bytes > 0 && turn.bytes <= most);
                let sent = bytes.min(turn.bytes);
                if leaves {
                    gate.leave(turn, sent);
                    inside -= 1;
                } else {
                    gate.sent(turn, sent);
                }
            }
        }
    }
}
