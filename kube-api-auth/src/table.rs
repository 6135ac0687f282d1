//! Objects of one kind by name, as a watch tells of them, within a bound on memory.

use std::collections::HashMap;

use kube::runtime::watcher::Event;

/// What the entry of a name costs beside the name and its content, in bytes; roughly.
const ENTRY: usize = 128;

/// Something of which it is known how much memory it takes.
pub trait Weigh {
    /// Bytes that it takes up beside itself; roughly.
    fn weight(&self) -> usize;
}

/// Entries by name.
#[derive(Debug)]
pub struct Table<T> {
    current: Entries<T>,
    /// What a list that is being read has brought so far.
    listed: Option<Entries<T>>,
    is_complete: bool,
    left_out: u64,
}

#[derive(Debug)]
struct Entries<T> {
    by_name: HashMap<String, T>,
    weight: usize,
    most: usize,
}

impl<T: Weigh> Table<T> {
    /// Nothing yet, and never much more than `most` bytes (twice that while a list is being read).
    pub fn new(most: usize) -> Self {
        Self {
            current: Entries::new(most),
            listed: None,
            is_complete: false,
            left_out: 0,
        }
    }

    /// Takes in what a watch tells. `read` makes an entry of an object; what it cannot read is left out.
    pub fn take_in<K: kube::Resource>(
        &mut self,
        event: Event<K>,
        read: impl FnOnce(K) -> Option<T>,
    ) {
        let into = self.listed.as_mut().unwrap_or(&mut self.current);
        let name = |object: &K| object.meta().name.clone().unwrap_or_default();
        match event {
            Event::Init => self.listed = Some(Entries::new(self.current.most)),
            Event::InitApply(object) | Event::Apply(object) => {
                let name = name(&object);
                let entry = read(object);
                if !into.set(name, entry) {
                    self.left_out += 1;
                }
            }
            Event::Delete(object) => {
                into.set(name(&object), None);
            }
            Event::InitDone => {
                if let Some(listed) = self.listed.take() {
                    self.current = listed;
                }
                self.is_complete = true;
            }
        }
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.current.by_name.get(name)
    }

    /// Whether it has been told of everything once.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.current.by_name.len()
    }

    /// How often there was no room for an entry.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl<T: Weigh> Entries<T> {
    fn new(most: usize) -> Self {
        Self {
            by_name: HashMap::new(),
            weight: 0,
            most,
        }
    }

    /// Puts an entry in the place of the one of that name, or only takes that away. Returns whether there
    /// was room.
    fn set(&mut self, name: String, entry: Option<T>) -> bool {
        if let Some(before) = self.by_name.remove(&name) {
            self.weight -= weight(&name, &before);
        }
        let Some(entry) = entry else {
            return true;
        };
        let weight = weight(&name, &entry);
        if weight > self.most - self.weight {
            return false;
        }
        self.weight += weight;
        self.by_name.insert(name, entry);
        true
    }
}

fn weight<T: Weigh>(name: &str, entry: &T) -> usize {
    ENTRY + size_of::<T>() + name.len() + entry.weight()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    impl Weigh for String {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    fn named(name: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.to_owned());
        map
    }

    fn take_in(table: &mut Table<String>, event: Event<ConfigMap>) {
        table.take_in(event, |map| map.metadata.name);
    }

    #[test]
    fn a_list_takes_the_place_of_what_was_there_when_it_is_complete() {
        let mut table = Table::new(10_000);
        take_in(&mut table, Event::Init);
        take_in(&mut table, Event::InitApply(named("old")));
        assert!(table.get("old").is_none() && !table.is_complete());
        take_in(&mut table, Event::InitDone);
        assert!(table.get("old").is_some() && table.is_complete());
        take_in(&mut table, Event::Init);
        take_in(&mut table, Event::InitApply(named("new")));
        assert!(
            table.get("old").is_some(),
            "it stays until the list is read"
        );
        take_in(&mut table, Event::InitDone);
        assert!(table.get("old").is_none() && table.get("new").is_some());
        take_in(&mut table, Event::Delete(named("new")));
        assert_eq!((table.len(), table.current.weight), (0, 0));
    }

    #[test]
    fn what_has_no_room_is_left_out_until_there_is() {
        let mut table = Table::new(2 * (ENTRY + size_of::<String>() + 10));
        for name in ["aaaaa", "bbbbb", "ccccc"] {
            take_in(&mut table, Event::Apply(named(name)));
        }
        assert!(table.get("ccccc").is_none());
        assert_eq!((table.len(), table.left_out()), (2, 1));
        take_in(&mut table, Event::Delete(named("aaaaa")));
        take_in(&mut table, Event::Apply(named("ccccc")));
        assert!(table.get("ccccc").is_some());
    }

    #[test]
    fn what_can_no_longer_be_read_is_gone() {
        let mut table: Table<String> = Table::new(10_000);
        take_in(&mut table, Event::Apply(named("a")));
        table.take_in(Event::Apply(named("a")), |_: ConfigMap| None);
        assert!(table.get("a").is_none());
    }
}
