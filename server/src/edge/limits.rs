//! How many connections there may be, in total and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts connections.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    total: Arc<Semaphore>,
    capacity: usize,
    per_address: usize,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ConnectionLimits {
    /// At most `total` connections, and `per_address` from each address.
    #[must_use]
    pub fn new(total: usize, per_address: usize) -> Self {
        Self {
            total: Arc::new(Semaphore::new(total)),
            capacity: total,
            per_address,
            addresses: Arc::default(),
        }
    }

    /// Waits for room for one more. Cancellation-safe.
    pub async fn room(&self) -> Room {
        let permit = Arc::clone(&self.total).acquire_owned().await;
        Room {
            _permit: permit.expect("the semaphore is never closed"),
        }
    }

    /// Counts a connection from that address; `None` if it has too many.
    #[must_use]
    pub fn admit(&self, room: Room, address: IpAddr) -> Option<ConnectionPermit> {
        let address = whose(address);
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_insert(0);
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit {
            address,
            addresses: Arc::clone(&self.addresses),
            _room: room,
        })
    }

    /// How many connections there are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.capacity - self.total.available_permits()
    }
}

/// The address that stands for whoever has that one: one customer has all of an IPv6 /64.
pub(crate) fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        four => four,
    }
}

/// Room for a connection.
#[derive(Debug)]
pub struct Room {
    _permit: OwnedSemaphorePermit,
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    address: IpAddr,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _room: Room,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_its_share_and_gives_it_back() {
        let limits = ConnectionLimits::new(3, 1);
        let first: IpAddr = "10.0.0.1".parse().unwrap();
        let held = limits.admit(limits.room().await, first).unwrap();
        assert!(limits.admit(limits.room().await, first).is_none());
        let other = limits.admit(limits.room().await, "10.0.0.2".parse().unwrap());
        assert!(other.is_some());
        assert_eq!(limits.open(), 2);
        drop(held);
        assert!(limits.admit(limits.room().await, first).is_some());
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_count_together() {
        let limits = ConnectionLimits::new(3, 1);
        let _held = limits
            .admit(limits.room().await, "2001:db8::1".parse().unwrap())
            .unwrap();
        assert!(
            limits
                .admit(limits.room().await, "2001:db8::2".parse().unwrap())
                .is_none()
        );
        assert!(
            limits
                .admit(limits.room().await, "2001:db8:0:1::1".parse().unwrap())
                .is_some()
        );
    }
}
